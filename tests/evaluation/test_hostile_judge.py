"""Judges that redirect, echo the key, never end or send nonsense: real servers on this machine."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
import tracemalloc

import pytest

from tosa_ros.endpoint.posting import MAX_REPLY_BYTES, without_key
from tosa_ros.evaluation.judge import EndpointJudge, JudgeError
from tosa_ros.evaluation.marking import mark_answers
from tosa_ros.evaluation.questions import Question

KEY = 'sk-Zq81mPf3xLw9TtB0'
OK = b'HTTP/1.1 200 OK\r\n'


class Raw:
    """A server that hands each connection, its request read, to a function."""

    def __init__(self, answer):
        self._answer, self.requests = answer, []
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self._socket.getsockname()[1]}/v1'
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._socket.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._one, args=[connection], daemon=True).start()

    def _one(self, connection):
        with connection, contextlib.suppress(OSError):
            self.requests.append(connection.recv(1 << 16))
            self._answer(connection)


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:
        yield lambda answer: stack.enter_context(contextlib.closing(Raw(answer)))


def says(head, body):
    return lambda connection: connection.sendall(
        head + f'Content-Length: {len(body)}\r\n\r\n'.encode() + body
    )


def completion(content):
    return json.dumps({'choices': [{'message': {'content': content}}]}).encode()


def judge(server, **options):
    options = {'attempts': 1, 'timeout_s': 0.7, 'api_key': KEY} | options
    return EndpointJudge(server.url, 'judge-1', **options)


def no_piece_of_the_key_in(text):
    pieces = (KEY[i : i + 8] for i in range(len(KEY) - 7))
    return not any(piece.lower() in text.lower() for piece in pieces)


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_the_key_is_not_sent_on(serve, status):
    other = serve(says(OK, completion('5')))
    first = serve(
        lambda c: c.sendall(
            f'HTTP/1.1 {status} Go\r\nLocation: {other.url}/x?{KEY}\r\n'
            'Content-Length: 0\r\n\r\n'.encode()
        )
    )
    with pytest.raises(JudgeError, match='redirects to') as refused:
        judge(first).ask('Mark', 1)
    assert other.requests == []
    assert no_piece_of_the_key_in(str(refused.value))


@pytest.mark.parametrize(
    'echo',
    [
        f'no such key: {KEY}.',
        f'{"x" * 190}{KEY}',
        f'{"x" * (1 << 17)}{KEY}',
        f'{KEY[:11]}...',
        KEY.upper(),
        f'\x1b[31m{KEY}\n\x07\x1b]0;{KEY}',
        f'"{KEY[:9]}\\n{KEY[9:]}"',
    ],
)
@pytest.mark.parametrize('status', [401, 500])
def test_an_echoed_key_is_neither_shown_nor_obeyed(serve, echo, status):
    head = f'HTTP/1.1 {status} Bad {KEY}\r\nX-Key: {KEY}\r\n'.encode()
    with pytest.raises(JudgeError, match=f'HTTP {status}') as refused:
        judge(serve(says(head, echo.encode()))).ask('Mark', 1)
    assert no_piece_of_the_key_in(str(refused.value))
    assert str(refused.value).isprintable()


def test_a_mark_with_the_key_in_it_is_kept_without(serve, tmp_path):
    server = serve(says(OK, completion(f'{KEY} Your mark: 4')))
    question = Question(0, 'What is it?', ('a cup',), '', 'e')
    store = tmp_path / 'marks.jsonl'
    assert mark_answers([question], {0: 'a mug'}, judge(server), store) == {0: 4}
    assert KEY.encode() in server.requests[0]
    assert no_piece_of_the_key_in(store.read_text())


@pytest.mark.parametrize(
    'url',
    [
        f'http://user:{KEY}@127.0.0.1:9/v1',
        f'http://{KEY}@127.0.0.1:9/v1',
        f'http://127.0.0.1:9/v1?key={KEY}',
        f'http://127.0.0.1:9/v1#{KEY}',
        f'http://user:{KEY}@127.0.0.1:port/v1',
        f'ftp://user:{KEY}@host/v1?{KEY}',
    ],
)
def test_a_secret_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(JudgeError, match='base URL') as refused:
        EndpointJudge(url, api_key='x')
    assert no_piece_of_the_key_in(str(refused.value))


def trickle(connection, head, piece):
    connection.sendall(head)
    while True:
        connection.sendall(piece)
        time.sleep(0.02)


@pytest.mark.parametrize(
    ('head', 'piece'),
    [
        (b'', b'H'),
        (b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
        (OK, b'X-A: b\r\n'),
        (OK + b'Content-Length: 1000000\r\n\r\n', b'{'),
        (OK + b'\r\n', b' '),
        (OK + b'Transfer-Encoding: chunked\r\n\r\n', b'1\r\n \r\n'),
        (b'HTTP/1.1 401 No\r\nContent-Length: 1000000\r\n\r\n', b'x'),
    ],
)
def test_a_reply_that_never_ends_ends_in_time(serve, head, piece):
    server = serve(lambda connection: trickle(connection, head, piece))
    threads, began = threading.active_count(), time.monotonic()
    with pytest.raises(JudgeError):
        judge(server).ask('Mark', 1)
    assert time.monotonic() - began < 1.5
    # The deadline's thread may need a moment to end; one is the server's own.
    while threading.active_count() > threads + 1 and time.monotonic() - began < 10:
        time.sleep(0.01)
    assert threading.active_count() <= threads + 1


def test_a_reply_without_end_is_not_kept(serve):
    flood = b' ' * (1 << 20)

    def answer(connection):
        connection.sendall(OK + b'\r\n')
        while True:
            connection.sendall(flood)

    tracemalloc.start()
    with pytest.raises(JudgeError, match='longer than'):
        judge(serve(answer), timeout_s=20).ask('Mark', 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MAX_REPLY_BYTES


@pytest.mark.parametrize(
    'body',
    [
        b'[' * 200_000,
        b'{"a":' * 200_000,
        b'{"choices":[{"message":{"content":' + b'9' * 5000 + b'}}]}',
        b'{"choices":{"message":1}}',
        b'[]',
        b'null',
        b'\xff\xfe',
        b'',
    ],
)
def test_nonsense_is_one_line(serve, body):
    with pytest.raises(JudgeError) as refused:
        judge(serve(says(OK, body))).ask('Mark', 1)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_errors_hide_the_key_and_nothing_else():
    assert without_key(f'a {KEY} b {KEY}', KEY) == 'a [key] b [key]'
    assert without_key(f'{KEY}{KEY}', KEY) == '[key]'
    assert without_key('Your mark: 4', 'x') == 'Your mark: 4'
    assert without_key('Your mark: 4', '') == 'Your mark: 4'
    assert without_key('none: 4', 'none') == '[key]: 4'
    encoded = base64.b64encode(b'other').decode()
    assert without_key(encoded, KEY) == encoded


def test_an_error_about_a_reply_hides_the_key(serve, tmp_path):
    server = serve(says(OK, completion(f'\x1b]0;no mark, but {KEY}\x07')))
    question = Question(0, 'What is it?', ('a cup',), '', 'e')
    with pytest.raises(JudgeError) as refused:
        mark_answers([question], {0: 'a mug'}, judge(server), tmp_path / 'marks.jsonl')
    assert no_piece_of_the_key_in(str(refused.value))
    assert str(refused.value).isprintable()
