"""Endpoints of today: each kind as a real server that behaves as it does."""

from __future__ import annotations

import json
import socket
import time
import warnings
from types import SimpleNamespace

import pytest
from judge_server import Server, reply

from tosa_ros.endpoint.dialect import refused_parameter
from tosa_ros.evaluation.judge import EndpointJudge, JudgeError, UnmarkedError
from tosa_ros.evaluation.judge_prompts import JudgePrompts
from tosa_ros.evaluation.marking import HOPELESS, llm_match, mark_answers, metric_name
from tosa_ros.evaluation.questions import Question

SENT = {'temperature': 0.2, 'max_tokens': 32, 'seed': 1234}


def questions(n):
    return [Question(i, f'What is thing {i}?', ('a cup',), 'things', 'e') for i in range(n)]


def said(n):
    return {i: f'thing {i}' for i in range(n)}


def judge(server, model='judge-1', **options):
    return EndpointJudge(server.url, model, **{'wait_s': 0.001, **options})


def openai_error(message, param=None, code=None):
    error = {'message': message, 'type': 'invalid_request_error', 'param': param, 'code': code}
    return 400, {'error': error}


def thinking_openai(body):
    """A reasoning model of OpenAI's."""
    if 'max_tokens' in body:
        return openai_error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            'max_tokens',
            'unsupported_parameter',
        )
    if body.get('temperature', 1) != 1:
        return openai_error(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the "
            'default (1) value is supported.',
            'temperature',
            'unsupported_value',
        )
    return None


def strict_schema(body):
    """FastAPI with extra='forbid'."""
    extra = [name for name in ('seed',) if name in body]
    detail = [
        {
            'type': 'extra_forbidden',
            'loc': ['body', name],
            'msg': 'Extra inputs are not permitted',
            'input': body[name],
        }
        for name in extra
    ]
    return (422, {'detail': detail}) if extra else None


def plain_text(body):
    """A server that says it in words alone."""
    return (400, 'temperature is deprecated for this model.') if 'temperature' in body else None


def no_limit_at_all(body):
    for name in ('max_tokens', 'max_completion_tokens'):
        if name in body:
            return 400, {'message': f'unrecognized request argument supplied: {name}'}
    return None


@pytest.mark.parametrize(
    ('refuse', 'taken', 'requests', 'name'),
    [
        (
            thinking_openai,
            {'max_completion_tokens': 32, 'seed': 1234},
            3,
            "the model's own temperature",
        ),
        (strict_schema, {'temperature': 0.2, 'max_tokens': 32}, 2, 'no seed'),
        (plain_text, {'max_tokens': 32, 'seed': 1234}, 2, "the model's own temperature"),
        (no_limit_at_all, {'temperature': 0.2, 'seed': 1234}, 3, 'no limit of tokens'),
    ],
)
def test_what_an_endpoint_refuses_is_learnt_once_and_said(
    serve, tmp_path, refuse, taken, requests, name
):
    server = serve(lambda *_: reply('4'), refuse)
    one = judge(server)
    with pytest.warns(UserWarning, match='judge judge-1 refuses') as told:
        assert one.ask('Mark', 1234) == '4'
    assert len(told) == requests - 1
    body = server.bodies()[-1]
    assert {key: body[key] for key in body if key not in ('model', 'messages')} == taken
    assert len(server.requests) == requests
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert mark_answers(questions(9), said(9), one, tmp_path / 'm.jsonl') == dict.fromkeys(
            range(9), 4
        )
    assert len(server.requests) == requests + 9
    wanted = f"LLM-Match (judge judge-1, not OpenEQA's prompt, {name})"
    assert llm_match(questions(9), dict.fromkeys(range(9), 4), one).name == wanted


def test_many_requests_at_once_learn_the_same(serve, tmp_path):
    server = serve(lambda *_: reply('5'), thinking_openai)
    with pytest.warns(UserWarning, match='refuses') as told:
        marks = mark_answers(questions(40), said(40), judge(server), tmp_path / 'm.jsonl')
    assert set(marks.values()) == {5}
    assert len(told) == 2
    assert len(server.requests) <= 40 + 2 * 8  # at most once a worker


def test_a_resumed_run_has_the_same_name_and_asks_nothing_again(serve, tmp_path):
    server = serve(lambda *_: reply('4'), thinking_openai)
    with pytest.warns(UserWarning, match='refuses'):
        mark_answers(questions(3), said(3), judge(server), tmp_path / 'm.jsonl')
    asked, again = len(server.requests), judge(server)
    with pytest.warns(UserWarning, match='refuses temperature'):
        marks = mark_answers(questions(3), said(3), again, tmp_path / 'm.jsonl')
    assert marks == {0: 4, 1: 4, 2: 4}
    assert len(server.requests) == asked
    assert "the model's own temperature" in llm_match(questions(3), marks, again).name


@pytest.mark.parametrize(
    'message',
    [
        "This model's maximum context length is 8192 tokens; reduce max_tokens or the prompt",
        'max_tokens is too large: 99999. This model supports at most 4096 completion tokens',
        'Invalid max_tokens value, the valid range of max_tokens is [1, 8192]',
        'The prompt "What temperature is it?" was filtered',
        'no such model',
        '',
    ],
)
def test_other_refusals_are_not_of_a_parameter(serve, message):
    server = serve(lambda *_: openai_error(message))
    with pytest.raises(UnmarkedError, match='HTTP 400'):
        judge(server).ask('Mark', 1)
    assert server.bodies() == [{**server.bodies()[0], **SENT, 'seed': 1}]


@pytest.mark.parametrize(
    ('reply_said', 'refused'),
    [
        ({'error': {'message': 'Unknown name "seed": Cannot find field.'}}, 'seed'),
        ({'error': {'message': "property 'seed' is unsupported"}}, 'seed'),
        ({'error': 'temperature may only be set to 1 when thinking is enabled'}, 'temperature'),
        ({'error': {'message': 'invalid temperature: only 1 is allowed'}}, 'temperature'),
        ({'error': {'message': 'Unsupported value', 'param': 'temperature'}}, 'temperature'),
        ({'message': 'no', 'error': {'param': 7, 'code': []}}, None),
        ({'error': {'message': 'a_seed_word is unknown'}}, None),
        ({'detail': [3, {'loc': 'seed', 'msg': 5}]}, None),
        (['temperature is unsupported'], None),
        (None, None),
    ],
)
def test_refusals_in_other_words(reply_said, refused):
    assert refused_parameter(reply_said, SENT) == refused


def test_a_parameter_left_out_in_vain_is_not_learnt(serve):
    server = serve(lambda *_: openai_error('temperature is unsupported, or something else'))
    one = judge(server)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(UnmarkedError, match='something else'):
            one.ask('Mark', 1)
    assert 'left_out' not in one.settings()
    assert len(server.requests) == 2


def cut(content, **message):
    choice = {'message': {'content': content, **message}, 'finish_reason': 'length'}
    return 200, {'choices': [choice]}


@pytest.mark.parametrize(
    'unfinished',
    [
        cut(None, reasoning_content='Let me see: a mug'),
        cut('', reasoning='Let me see'),
        cut('<think>Let me see: a mug is'),
        reply('<think>Let me see: a mug is'),
    ],
)
def test_a_judge_cut_while_it_thinks_says_so_and_a_larger_limit_helps(serve, tmp_path, unfinished):
    def answer(prompt, _):
        large = server.bodies()[-1]['max_tokens'] >= 2048
        return reply('4', reasoning_content='A mug is a cup.') if large else unfinished

    server = serve(answer)
    with pytest.raises(
        JudgeError, match=r'no answer within 32 tokens.*--judge-max-tokens'
    ) as refused:
        mark_answers(questions(30), said(30), judge(server), tmp_path / 'm.jsonl')
    assert '30 of 30 answers have no mark' in str(refused.value)
    assert len(server.requests) <= HOPELESS + 8  # and not three for each of thirty
    patient = judge(server, max_tokens=2048)
    marks = mark_answers(questions(3), said(3), patient, tmp_path / 'm.jsonl')
    assert marks == {0: 4, 1: 4, 2: 4}
    assert llm_match(questions(3), marks, patient).name.endswith(', 2048 tokens)')


def test_a_mark_out_of_range_is_asked_for_again_then_refused(serve, tmp_path):
    server = serve(lambda prompt, seen: reply('7' if seen < 2 else '4'))
    assert mark_answers(questions(1), said(1), judge(server), tmp_path / 'a.jsonl') == {0: 4}
    assert [body['seed'] for body in server.bodies()] == [1234, 1235, 1236]
    server.answer = lambda *_: reply('7')
    with pytest.raises(JudgeError, match=r'3 replies, and the mark is 7; wanted 1 to 5'):
        mark_answers(questions(1), said(1), judge(server), tmp_path / 'b.jsonl')
    assert (tmp_path / 'b.jsonl').read_text() == ''


def test_a_stored_mark_out_of_range_does_not_count(serve, tmp_path):
    server = serve(lambda *_: reply('4'))
    store = tmp_path / 'm.jsonl'
    mark_answers(questions(1), said(1), judge(server), store)
    store.write_text(store.read_text().replace('"mark": 4', '"mark": 17'))
    assert mark_answers(questions(1), said(1), judge(server), store) == {0: 4}
    assert len(server.requests) == 2


def test_a_prompt_that_is_refused_costs_no_other_its_mark(serve, tmp_path):
    def answer(prompt, _):
        filtered = openai_error('The response was filtered', code='content_filter')
        return filtered if 'thing 3?' in prompt else reply('4')

    server = serve(answer)
    with pytest.raises(JudgeError, match=r'1 of 9 answers have no mark; question 3.*filtered'):
        mark_answers(questions(9), said(9), judge(server), tmp_path / 'm.jsonl')
    marks = [json.loads(line) for line in (tmp_path / 'm.jsonl').read_text().splitlines()]
    assert sorted(mark['question_id'] for mark in marks) == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_model_that_declines_is_quoted(serve):
    server = serve(lambda *_: reply(None, refusal='I will not grade this.'))
    with pytest.raises(UnmarkedError, match=r'will not mark this: I will not grade this\.'):
        judge(server).ask('Mark', 1)


def test_marks_stay_when_the_port_changes_but_not_the_model_or_path(serve, tmp_path):
    first, second = (serve(lambda *_: reply('4')) for _ in range(2))
    assert first.url != second.url
    store = tmp_path / 'm.jsonl'
    mark_answers(questions(3), said(3), judge(first), store)
    mark_answers(questions(3), said(3), judge(second), store)
    assert len(second.requests) == 0
    mark_answers(questions(3), said(3), judge(second, 'judge-2'), store)
    assert len(second.requests) == 3
    elsewhere = SimpleNamespace(url=second.url.replace('/v1', '/other/v1'))
    mark_answers(questions(3), said(3), judge(elsewhere), store)
    assert len(second.requests) == 6
    mark_answers(questions(3), said(3), judge(second, max_tokens=64), store)
    assert len(second.requests) == 9


def test_only_openeqas_own_setting_is_called_official(monkeypatch):
    url = 'http://127.0.0.1:9/v1'
    official = SimpleNamespace(official=True)
    own = EndpointJudge(url, 'gpt-4-1106-preview')
    assert metric_name(own, official) == 'LLM-Match (official: judge gpt-4-1106-preview)'
    for judge, prompts, name in (
        (own, JudgePrompts(), "judge gpt-4-1106-preview, not OpenEQA's prompt"),
        (EndpointJudge(url, 'gpt-4-1106-preview', max_tokens=64), official, None),
        (EndpointJudge(url, 'gpt-5'), official, 'judge gpt-5'),
        (EndpointJudge(url, 'gpt-5', max_tokens=64), official, 'judge gpt-5, 64 tokens'),
    ):
        name = name or 'judge gpt-4-1106-preview, 64 tokens'
        assert metric_name(judge, prompts) == f'LLM-Match ({name})'
    with pytest.warns(UserWarning, match='refuses'):
        own.leave_out(['temperature', 'seed'])
    wanted = "LLM-Match (judge gpt-4-1106-preview, the model's own temperature, no seed)"
    assert metric_name(own, official) == wanted


# A judge that is dead: refused, unknown, or silent. Each is one line, well within a minute.


def in_time(judge, seconds, match):
    start = time.monotonic()
    with pytest.raises(JudgeError, match=match) as dead:
        judge.ask('Mark', 1)
    assert time.monotonic() - start < seconds
    assert str(dead.value).isprintable()
    return str(dead.value)


def unused_port():
    with socket.create_server(('127.0.0.1', 0)) as found:
        return found.getsockname()[1]


def test_the_defaults_give_a_dead_judge_less_than_a_minute():
    one = EndpointJudge('http://127.0.0.1:9/v1', 'm')
    waits = sum(one.wait_s * 2**n for n in range(one.attempts - 1))
    assert waits < 40
    assert one.timeout_s < 50
    # One that was never there is given up sooner.
    unheard = EndpointJudge(f'http://127.0.0.1:{unused_port()}/v1', 'm', wait_s=0.01)
    in_time(unheard, 5, r'Connection refused \(3 attempts\)')


def test_a_refused_connection_is_one_line():
    one = EndpointJudge(f'http://127.0.0.1:{unused_port()}/v1', 'm', wait_s=0.01, attempts=3)
    line = in_time(one, 5, r'Connection refused \(3 attempts\)')
    assert 'urlopen' not in line
    # It is not tried again for every method of a run.
    began = time.monotonic()
    with pytest.raises(JudgeError, match='Connection refused'):
        one.ask('Mark', 1)
    assert time.monotonic() - began < 0.01


def test_a_host_that_nobody_knows_or_that_is_never_found(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', unknown)
    one = EndpointJudge('http://judge.invalid/v1', 'm', wait_s=0.01, attempts=2)
    in_time(one, 5, r'gaierror: Name or service not known \(2 attempts\)')
    # A name server that does not answer: nothing ends this call but leaving it alone.
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: time.sleep(20))
    one = EndpointJudge('http://judge.invalid/v1', 'm', wait_s=0.01, timeout_s=0.5)
    in_time(one, 3, 'no whole reply within 0.5 s')


def test_a_silent_server_is_left_after_the_timeout_and_not_tried_six_times(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        url = f'http://127.0.0.1:{silent.getsockname()[1]}/v1'
        one = EndpointJudge(url, 'm', timeout_s=0.7)
        line = in_time(one, 2, r'no whole reply within 0.7 s \(1 attempt\)')
        assert line.endswith('; a slow judge needs a longer --judge-timeout')
        start = time.monotonic()
        again = EndpointJudge(url, 'm', timeout_s=0.7)
        with pytest.raises(JudgeError, match='50 of 50 answers have no mark'):
            mark_answers(questions(50), said(50), again, tmp_path / 'm.jsonl')
        assert time.monotonic() - start < 3


def test_one_lost_reply_is_asked_for_again_while_others_come(serve, tmp_path):
    def answer(prompt, seen):
        time.sleep(2.0 if 'thing 3?' in prompt and seen == 0 else 0.1)
        return reply('4')

    server = serve(answer)
    one = judge(server, timeout_s=1.0)
    marks = mark_answers(questions(120), said(120), one, tmp_path / 'm.jsonl')
    assert set(marks.values()) == {4}
    assert sum('thing 3?' in prompt for prompt in server.prompts()) == 2


def test_marks_made_before_a_judge_died_are_kept(tmp_path):
    server = Server(lambda *_: reply('4'))
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    one = judge(server, attempts=2)
    mark_answers(questions(3), said(3), one, tmp_path / 'm.jsonl')
    server.shutdown()
    server.server_close()
    with pytest.raises(JudgeError, match=r'2 of 5 answers have no mark.*refused.*run the same'):
        mark_answers(questions(5), said(5), one, tmp_path / 'm.jsonl')
    assert len((tmp_path / 'm.jsonl').read_text().splitlines()) == 3


def test_the_command_judges_by_a_model_that_thinks(
    serve, openeqa, checkpoint, command, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv('JUDGE_KEY', 'sk-Zq81mPf3xLw9TtB0')
    server = serve(lambda *_: reply('<think>Hm.</think>\n**Your mark: 4**'), thinking_openai)
    args = ('eval', 'openeqa', '--data', openeqa, '--model', checkpoint, '--frames', 1)
    args += ('--max-new-tokens', 4, '--out', tmp_path / 'run', '--json', '--judge-url', server.url)
    args += ('--judge-model', 'o9', '--judge-max-tokens', 900, '--judge-key-env', 'JUDGE_KEY')
    with pytest.warns(UserWarning, match='refuses temperature'):
        assert command(*args) == 0
    score = json.loads(capsys.readouterr().out)['methods']['tosa-0.25']['scores'][0]
    wanted = "(judge o9, not OpenEQA's prompt, the model's own temperature, 900 tokens)"
    assert (score['metric'], score['overall']) == (f'LLM-Match {wanted}', 75)
    assert server.bodies()[-1]['max_completion_tokens'] == 900
    for file in (tmp_path / 'run').rglob('*'):
        assert not file.is_file() or b'sk-Zq81mPf3' not in file.read_bytes()
