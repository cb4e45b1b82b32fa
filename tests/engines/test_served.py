"""A model behind an OpenAI-compatible server: a real HTTP server on this machine."""

from __future__ import annotations

import base64
import io
import json
import threading
import time

import numpy as np
import pytest
from judge_server import reply
from PIL import Image

from tosa_ros.cli.main import main
from tosa_ros.endpoint import EndpointError, RefusedError
from tosa_ros.engines.served import ServedPipeline
from tosa_ros.errors import MergingError, ModelError
from tosa_ros.merging import NoMerging, ToSA


def words(prompt):
    return [part['text'] for part in prompt if part['type'] == 'text']


def pictures(prompt):
    urls = [part['image_url']['url'] for part in prompt if part['type'] == 'image_url']
    for url in urls:
        kind, data = url.split(',', 1)
        assert kind == 'data:image/jpeg;base64'
        yield np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_server_is_sent_every_frame_in_order_then_the_question(serve, frames):
    server = serve(lambda *_: reply(' a mug '))
    pipeline = ServedPipeline(server.url, 'qwen', api_key='sk-1234567890')
    answer = pipeline.ask(frames, 'What is it?', max_new_tokens=7)
    assert (answer.text, answer.question, answer.spatial) == ('a mug', 'What is it?', 'none')
    path, body, headers = server.requests[0]
    assert path == '/v1/chat/completions'
    assert headers['Authorization'] == 'Bearer sk-1234567890'
    assert (body['model'], body['temperature'], body['max_tokens']) == ('qwen', 0, 7)
    prompt = body['messages'][0]['content']
    assert words(prompt) == ['What is it?']
    assert prompt[-1]['type'] == 'text'
    seen = list(pictures(prompt))
    assert len(seen) == len(frames) > 1
    for picture, frame in zip(seen, frames, strict=True):
        assert picture.shape == frame.rgb.shape
        assert np.abs(picture.astype(int) - frame.rgb).mean() < 8


def test_what_the_server_does_not_tell_is_not_made_up(serve, frames):
    answer = ServedPipeline(serve(lambda *_: reply('no')).url, 'm').ask(frames[0], 'Is it?')
    unknown = ('tokens_before', 'tokens_after', 'vision_ms', 'prefill_ms', 'decode_ms')
    assert [getattr(answer, name) for name in (*unknown, 'new_tokens')] == [None] * 6

    def told(*_):
        status, value = reply('no')
        return status, value | {'usage': {'prompt_tokens': 900, 'completion_tokens': 3}}

    assert ServedPipeline(serve(told).url, 'm').ask(frames[0], 'Is it?').new_tokens == 3


def test_requests_go_side_by_side_and_answers_keep_their_order(serve, frames):
    at_once, most, lock = [0], [0], threading.Lock()

    def answer(prompt, _):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        with lock:
            at_once[0] -= 1
        return reply(words(prompt)[0].upper())

    pipeline = ServedPipeline(serve(answer).url, 'm', parallel=3)
    requests = [(frames[0], f'question {i}') for i in range(9)]
    texts = [one.text for one in pipeline.answer_batch(requests)]
    assert texts == [f'QUESTION {i}' for i in range(9)]
    assert most[0] == 3


def test_thoughts_are_no_answer_and_an_unended_one_is_refused(serve, frames):
    def answer(prompt, _):
        if words(prompt) == ['long']:
            status, value = reply('<think>so many')
            value['choices'][0]['finish_reason'] = 'length'
            return status, value
        return reply('<think>hm</think>two')

    pipeline = ServedPipeline(serve(answer).url, 'm')
    assert pipeline.ask(frames[0], 'How many?').text == 'two'
    with pytest.raises(RefusedError, match=r'no answer within 5 tokens.*--max-new-tokens'):
        pipeline.ask(frames[0], 'long', max_new_tokens=5)


def test_a_parameter_that_is_refused_stands_in_the_note(serve, frames):
    def refuse(body):
        return (400, 'temperature is not supported') if 'temperature' in body else None

    pipeline = ServedPipeline(serve(lambda *_: reply('a'), refuse).url, 'm')
    with pytest.warns(UserWarning, match='model m refuses temperature'):
        answer = pipeline.ask(frames[0], 'Which?')
    assert answer.note == "the server's own temperature: it refuses ours"


def test_a_dead_server_and_bad_settings_are_one_line(frames):
    dead = ServedPipeline('http://127.0.0.1:9/v1', 'm', wait_s=0.001)
    with pytest.raises(EndpointError, match=r'^model m at http://127.0.0.1:9/v1: .*refused'):
        dead.ask(frames[0], 'Who?')
    with pytest.raises(ModelError, match='no model is named'):
        ServedPipeline('http://127.0.0.1:9/v1', ' ')
    with pytest.raises(EndpointError, match="base URL 'ftp://x'"):
        ServedPipeline('ftp://x', 'm')
    with pytest.raises(ModelError, match='parallel=0'):
        ServedPipeline('http://127.0.0.1:9/v1', 'm', parallel=0)


def test_nothing_merges(frames):
    pipeline = ServedPipeline('http://127.0.0.1:9/v1', 'm')
    pipeline.merging = NoMerging()
    with pytest.raises(MergingError, match='whole pictures'):
        pipeline.merging = ToSA(keep=0.5)


@pytest.fixture
def tosa(capsys):
    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_a_benchmark_is_asked_at_a_server(serve, tmp_path, tosa, monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-Zq81mPf3xLw9TtB0')
    server = serve(lambda prompt, _: reply('yes'))
    line = ['eval', 'tinyworld', '--limit', '6', '--answerer', 'openai', '--base-url', server.url]
    line += ['--model', 'org/qwen', '--out', str(tmp_path / 'run'), '--gallery', '1']
    code, out, err = tosa(*line)
    assert code == 0, err
    assert len(server.requests) == 6
    results = json.loads((tmp_path / 'run' / 'scores.json').read_text())
    assert list(results['methods']) == ['none']
    assert results['methods']['none']['cost']['tokens_after'] is None
    assert 'sk-Zq81' not in (tmp_path / 'run' / 'report.html').read_text() + out + err
    # Nothing is asked twice, and another model's answers are not mixed in.
    code, _, err = tosa(*line)
    assert (code, len(server.requests)) == (0, 6)
    line[line.index('org/qwen')] = 'org/other'
    code, _, err = tosa(*line)
    assert code == 2
    assert 'model' in err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], '--answerer needs --base-url'),
        (['--base-url', 'http://x/v1'], '--answerer openai needs --model'),
        (['--base-url', 'http://x/v1', '--model', 'm', '--keep', '.5'], '--keep has no effect'),
        (['--base-url', 'http://x/v1', '--model', 'm', '--depth', 'none'], '--depth has no'),
        (['--base-url', 'http://x/v1', '--model', 'm', '--tiles'], '--tiles has no'),
        (['--base-url', 'http://x/v1', '--model', 'm', '--dtype', 'float32'], '--dtype has no'),
        (['--base-url', 'http://x/v1', '--model', 'm', '--method', 'tosa'], '--method tosa'),
    ],
)
def test_options_without_an_effect_are_refused(tosa, tmp_path, words, said):
    line = ['eval', 'tinyworld', '--out', str(tmp_path / 'run'), '--answerer', 'openai']
    code, _, err = tosa(*line, *words)
    assert code == 2
    assert said in err
