"""One HTTP request with a secret in it, to a foreign server: bounded, and never sent on.

A server may redirect, echo the key, never end its reply or send it byte by byte. Here the request
goes to the named host alone, the whole of it ends in time, and what comes back is of a size to be
read and free of the key.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import queue
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from tosa_ros.errors import printable

MAX_REPLY_BYTES = 1 << 20
MAX_ERROR_BYTES = 1 << 16
SHOWN_CHARACTERS = 200
# As many characters of a key in a row are taken for the key, cut or masked as it may be.
_TELLING = 8
_SHORTEST_SECRET = 4  # Servers without keys are given an x or a dash.
_HIDDEN = '[key]'


class PostError(Exception):
    """No usable reply. passing: asking again may help, after `retry_after_s`.

    status: of an HTTP error, 0 where a reply is there and unusable, None where there is none.
    said: what a server says beside an HTTP error, JSON or text as {"message": text}. It is not
    for people, as the key may be in it. late: time was up.
    """

    def __init__(
        self,
        reason: str,
        *,
        passing: bool,
        retry_after_s: float = 0.0,
        status: int | None = 0,
        said: Any = None,
        late: bool = False,
    ) -> None:
        super().__init__(reason)
        self.passing, self.retry_after_s = passing, retry_after_s
        self.status, self.said, self.late = status, said, late


def post_json(url: str, body: Any, *, key: str, timeout_s: float) -> Any:
    """The JSON that a server answers to JSON.

    Args:
        key: sent as a bearer token; hidden in every text that comes back.
        timeout_s: for all of it, from looking the host up to the reply's last byte.

    Raises:
        PostError: no reply in time, too long a one, an HTTP error, or no JSON.
    """
    headers = {'Content-Type': 'application/json'}
    if key:
        headers['Authorization'] = f'Bearer {key}'
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with _deadline(timeout_s) as deadline:
        try:
            with deadline.opener().open(request, timeout=timeout_s) as response:
                reply = response.read(MAX_REPLY_BYTES + 1)
        except urllib.error.HTTPError as error:
            raise _refusal(error, key) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if deadline.expired.is_set():
                raise _late(timeout_s) from None
            reason = _shown(_in_words(error), key)
            raise PostError(reason, passing=True, status=None) from None
    if deadline.expired.is_set():
        raise _late(timeout_s)
    if len(reply) > MAX_REPLY_BYTES:
        raise PostError(f'the reply is longer than {MAX_REPLY_BYTES:,} bytes', passing=False)
    try:
        return json.loads(reply)
    except (ValueError, RecursionError) as error:
        raise PostError(_shown(f'the reply is not JSON: {error}', key), passing=True) from None


def without_key(text: str, key: str) -> str:
    """The text with each piece of the key hidden that is long enough to reveal it."""
    if len(key) < _SHORTEST_SECRET:
        return text
    length = min(_TELLING, len(key))
    low, known = text.lower(), key.lower()
    pieces = {known[i : i + length] for i in range(len(known) - length + 1)}
    shown, at, hidden_to = [], 0, 0
    for i in range(len(low) - length + 1):
        if low[i : i + length] in pieces:
            if i > hidden_to or not hidden_to:
                shown += [text[at:i], _HIDDEN]
            at = hidden_to = i + length
    return ''.join([*shown, text[at:]])


def url_without_secrets(url: str) -> str:
    """A URL to be shown: no user, password, query or fragment."""
    return re.split(r'[?#]', re.sub(r'//.*@', '//...@', url))[0]


class _Deadline:
    """Ends every connection of its opener when time is up, whatever it is at."""

    def __init__(self, seconds: float) -> None:
        self.expired = threading.Event()
        self._seconds = seconds
        self._handles: list[socket.socket] = []

    def opener(self) -> urllib.request.OpenerDirector:
        return urllib.request.build_opener(
            _NoRedirects, _handler(self, 'http'), _handler(self, 'https')
        )

    def connection(self, kind: type[http.client.HTTPConnection], host: str, **options: Any) -> Any:
        made = kind(host, **options)
        made._create_connection = self._connected
        return made

    def end(self) -> None:
        self.expired.set()
        for handle in self._handles:
            with contextlib.suppress(OSError):  # It may have ended by itself.
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        while self._handles:
            self._handles.pop().close()

    def _connected(self, *args: Any, **options: Any) -> socket.socket:
        made = self._in_time(functools.partial(socket.create_connection, *args, **options))
        # TLS takes the socket over; a duplicate still ends it.
        self._handles.append(made.dup())
        if self.expired.is_set():
            self.end()
        return made

    def _in_time(self, connect: Callable[[], socket.socket]) -> socket.socket:
        """A connection; looking its host up can be ended by nothing but leaving it alone."""
        outcome: queue.SimpleQueue[socket.socket | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                made = connect()
            except Exception as error:  # It is raised where it is waited for.
                outcome.put(error)
                return
            if self.expired.is_set():
                made.close()
            outcome.put(made)

        threading.Thread(target=work, daemon=True).start()
        try:
            found = outcome.get(timeout=self._seconds)
        except queue.Empty:
            self.expired.set()
            raise TimeoutError from None
        if isinstance(found, Exception):
            raise found
        return found


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None  # The redirect then is an error, with its status.


def _handler(deadline: _Deadline, scheme: str) -> urllib.request.BaseHandler:
    kind, base = {
        'http': (http.client.HTTPConnection, urllib.request.HTTPHandler),
        'https': (http.client.HTTPSConnection, urllib.request.HTTPSHandler),
    }[scheme]
    connect = functools.partial(deadline.connection, kind)

    def opened(handler: Any, request: Any) -> Any:
        return handler.do_open(connect, request)

    return type('Handler', (base,), {f'{scheme}_open': opened})()


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline(seconds)
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        deadline.close()


def _refusal(error: urllib.error.HTTPError, key: str) -> PostError:
    if 300 <= error.code < 400:
        place = _shown(url_without_secrets(error.headers.get('Location') or ''), key)
        return PostError(
            f'HTTP {error.code}: redirects to {place or "nowhere"}, and a key is not sent on; '
            'name the address that answers itself',
            passing=False,
        )
    try:
        detail = error.read(MAX_ERROR_BYTES).decode('utf-8', 'replace')
    except (OSError, http.client.HTTPException, ValueError):
        detail = ''
    return PostError(
        _shown(': '.join(filter(str.strip, [f'HTTP {error.code} {error.reason}', detail])), key),
        passing=error.code in (408, 409, 425, 429) or error.code >= 500,
        retry_after_s=_retry_after_s(error),
        status=error.code,
        said=_said(detail),
    )


def _said(detail: str) -> Any:
    try:
        return json.loads(detail)
    except (ValueError, RecursionError):
        return {'message': detail}


def _late(timeout_s: float) -> PostError:
    reason = f'no whole reply within {timeout_s:.3g} s'
    return PostError(reason, passing=True, status=None, late=True)


def _in_words(error: Exception) -> str:
    """Why there was no connection, or no reply on it."""
    reason = getattr(error, 'reason', None)  # what urllib wraps
    cause = reason if isinstance(reason, Exception) else error
    words = getattr(cause, 'strerror', None) or str(cause)
    return f'{type(cause).__name__}: {words}' if words else type(cause).__name__


def _shown(text: str, key: str) -> str:
    """One line for people; the key goes before the text is cut, or a piece of it might stay."""
    return printable(without_key(text, key), SHOWN_CHARACTERS)


def _retry_after_s(error: urllib.error.HTTPError) -> float:
    try:
        return min(60.0, max(0.0, float(error.headers.get('Retry-After', 0))))
    except ValueError:  # an HTTP date; the back-off waits instead
        return 0.0
