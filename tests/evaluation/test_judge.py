"""Judges: a real HTTP server on this machine, and a real checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest
from judge_server import reply

from tosa_ros.errors import DataError, ModelError
from tosa_ros.evaluation.judge import EndpointJudge, JudgeError, LocalJudge
from tosa_ros.evaluation.judge_prompts import JudgePrompts
from tosa_ros.evaluation.marking import llm_match, mark_answers
from tosa_ros.evaluation.questions import Question


def questions(n, extra=()):
    return [Question(i, f'What is thing {i}?', ('a cup', *extra), 'things', 'e') for i in range(n)]


def judge(server, **options):
    return EndpointJudge(server.url, 'judge-1', wait_s=0.001, **options)


def test_the_request_is_openeqas(serve):
    server = serve(lambda *_: reply('4'))
    assert judge(server, api_key='secret').ask('Mark this', 1234) == '4'
    path, body, headers = server.requests[0]
    assert path == '/v1/chat/completions'
    assert body == {
        'model': 'judge-1',
        'messages': [{'role': 'user', 'content': 'Mark this'}],
        'temperature': 0.2,
        'max_tokens': 32,
        'seed': 1234,
    }
    assert headers['Authorization'] == 'Bearer secret'
    assert 'secret' not in repr(judge(server, api_key='secret'))


def test_passing_failures_are_tried_again(serve):
    failures = [
        (500, 'oops'),
        (429, 'slow', ('Retry-After', '0')),
        (None, ''),
        (None, 'garbage\r\n\r\n'),
        (None, 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"cho'),
        (200, 'not json'),
        (200, {'choices': []}),
    ]
    server = serve(lambda _, seen: failures[seen] if seen < len(failures) else reply('5'))
    assert judge(server, attempts=8).ask('Mark', 1) == '5'
    assert len(server.requests) == 8


def test_a_judge_that_stays_away_is_an_error(serve):
    server = serve(lambda *_: (503, 'down'))
    with pytest.raises(JudgeError, match=r'HTTP 503.*down \(3 attempts\)'):
        judge(server, attempts=3).ask('Mark', 1)


def test_a_refusal_is_not_tried_again(serve):
    server = serve(lambda *_: (401, 'bad key'))
    with pytest.raises(JudgeError, match=r'HTTP 401.*bad key; check the URL, model and key'):
        judge(server).ask('Mark', 1)
    assert len(server.requests) == 1


def test_no_server_and_no_url():
    with pytest.raises(JudgeError, match='2 attempts'):
        EndpointJudge('http://127.0.0.1:9/v1', 'm', wait_s=0.001, attempts=2).ask('Mark', 1)
    for url in ('localhost:8000', 'http://', 'http://127.0.0.1:abc/v1', 'http://a b/v1'):
        with pytest.raises(JudgeError, match='wanted http'):
            EndpointJudge(url, 'm')


def test_there_is_no_default_judge_that_cannot_work():
    with pytest.raises(JudgeError, match=r'no model.*gpt-4-1106-preview, is retired.*judge-model'):
        EndpointJudge('http://127.0.0.1:9/v1')
    with pytest.raises(JudgeError, match='0 tokens for a reply'):
        EndpointJudge('http://127.0.0.1:9/v1', 'm', max_tokens=0)
    with pytest.raises(JudgeError, match='timeout 0 s'):
        EndpointJudge('http://127.0.0.1:9/v1', 'm', timeout_s=0)


def test_a_key_is_stripped_or_refused_and_never_shown(serve):
    server = serve(lambda *_: reply('4'))
    assert judge(server, api_key=' secret\r\n').ask('Mark', 1) == '4'
    assert server.requests[0][2]['Authorization'] == 'Bearer secret'
    for key in ('sec\rret', 'sec\nret', 'secret\x00', 'secrét'):
        with pytest.raises(JudgeError, match=r'the key in \$MY_KEY has') as caught:
            judge(server, api_key=key, key_source='$MY_KEY')
        assert 'sec' not in str(caught.value)


def test_marks_and_score(serve, tmp_path):
    def answer(prompt, _):
        return reply('Your mark: 5' if 'Response: a cup.' in prompt else '2')

    server = serve(answer)
    asked = questions(3)
    marks = mark_answers(
        asked, {0: 'a cup. I think', 1: 'a plate'}, judge(server), tmp_path / 'marks.jsonl'
    )
    assert marks == {0: 5, 1: 2, 2: 0}  # what is missing is wrong, and the judge is not asked
    assert len(server.requests) == 2
    assert json.loads((tmp_path / 'marks.json').read_text()) == {'0': 5, '1': 2, '2': 0}
    score = llm_match(asked, marks, judge(server))
    assert score.overall == pytest.approx((100 + 25 + 0) / 3)
    assert score.name == "LLM-Match (judge judge-1, not OpenEQA's prompt)"


def test_marks_are_not_asked_for_twice_unless_something_changed(serve, tmp_path):
    server = serve(lambda *_: reply('3'))
    store = tmp_path / 'marks.jsonl'
    said = {i: f'thing {i}' for i in range(5)}
    mark_answers(questions(5), said, judge(server), store)
    mark_answers(questions(5), said, judge(server), store)
    assert len(server.requests) == 5
    mark_answers(questions(5), {**said, 2: 'other'}, judge(server), store)
    assert len(server.requests) == 6
    mark_answers(questions(5), said, EndpointJudge(server.url, 'judge-2'), store)
    assert len(server.requests) == 11


def test_a_failed_mark_is_never_a_zero_and_the_others_are_kept(serve, tmp_path):
    server = serve(lambda prompt, _: reply('hm' if 'thing 1?' in prompt else '4'))
    store = tmp_path / 'marks.jsonl'
    said = dict.fromkeys(range(4), 'a cup')
    with pytest.raises(JudgeError, match=r'1 of 4 answers have no mark; question 1.*run the same'):
        mark_answers(questions(4), said, judge(server), store)
    assert not (tmp_path / 'marks.json').exists()
    assert len(server.requests) == 3 + 3  # asked again with other seeds
    assert {b['seed'] for _, b, _ in server.requests} == {1234, 1235, 1236}
    server.answer = lambda *_: reply('1')
    marks = mark_answers(questions(4), said, judge(server), store)
    assert marks == {0: 4, 1: 1, 2: 4, 3: 4}
    assert len(server.requests) == 7


def test_a_judge_that_goes_away_is_not_hammered(serve, tmp_path):
    server = serve(lambda *_: (500, 'gone'))
    with pytest.raises(JudgeError, match='50 of 50 answers have no mark'):
        mark_answers(
            questions(50),
            dict.fromkeys(range(50), 'x'),
            judge(server, attempts=2),
            tmp_path / 'marks.jsonl',
        )
    assert len(server.requests) < 40


def test_extra_answers_reach_the_judge(serve, tmp_path):
    server = serve(lambda *_: reply('5'))
    asked = questions(1, extra=('mug', 'beaker'))
    mark_answers(asked, {0: 'mug'}, judge(server), tmp_path / 'marks.jsonl')
    assert "['mug', 'beaker']" in server.prompts()[0]
    assert 'What is thing 0?' in server.prompts()[0]


def test_prompts_from_a_folder(tmp_path):
    assert not JudgePrompts().official
    with pytest.raises(DataError, match=r'mmbench\.txt: no such file'):
        JudgePrompts.from_folder(tmp_path)
    (tmp_path / 'mmbench.txt').write_text('{question} {answer} {prediction}\n')
    (tmp_path / 'mmbench-extra.txt').write_text('{question} {extra_answers} {prediction}\n')
    prompts = JudgePrompts.from_folder(tmp_path)
    assert prompts.fill('Q', ['A'], '{x}') == 'Q A {x}'
    assert not prompts.official
    (tmp_path / 'mmbench.txt').write_text('{response}')
    with pytest.raises(DataError, match='response'):
        JudgePrompts.from_folder(tmp_path)


@pytest.fixture
def bigram_checkpoint(tmp_path):
    (tmp_path / 'bigram').mkdir()
    return write_bigram(tmp_path / 'bigram', 50)


def write_bigram(path, weight):
    """A Llama whose next word depends on the last one only: after anything '3', then the end."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {'[UNK]': 0, '3': 1, '[END]': 2}
    core = Tokenizer(models.WordLevel(words, unk_token='[UNK]'))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token='[END]', pad_token='[END]', unk_token='[UNK]'
    ).save_pretrained(path)
    config = LlamaConfig(
        vocab_size=3,
        hidden_size=4,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        eos_token_id=2,
        pad_token_id=2,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.model.norm.weight.fill_(1)
        model.model.embed_tokens.weight.copy_(torch.eye(4)[:3])
        model.lm_head.weight[1, 0] = model.lm_head.weight[2, 1] = weight
    model.save_pretrained(path)
    return path


def test_a_local_checkpoint_judges(bigram_checkpoint, tmp_path):
    local = LocalJudge(bigram_checkpoint)
    assert local.ask('Mark this response', 1234) == '3'
    marks = mark_answers(questions(2), {0: 'cup', 1: 'mug'}, local, tmp_path / 'm' / 'marks.jsonl')
    assert marks == {0: 3, 1: 3}
    assert LocalJudge(bigram_checkpoint).settings() == local.settings()
    # Another model in a folder of the same name is another judge.
    twin = shutil.copytree(bigram_checkpoint, tmp_path / 'elsewhere' / bigram_checkpoint.name)
    write_bigram(twin, 49)
    assert LocalJudge(twin).name == local.name
    assert LocalJudge(twin).settings() != local.settings()
    with pytest.raises(ModelError, match='is not a folder'):
        LocalJudge(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ModelError, match='cannot be loaded'):
        LocalJudge(tmp_path / 'empty')


def test_the_command_judges_and_resumes_after_a_refusal(
    serve, openeqa, checkpoint, command, tmp_path, capsys
):
    server = serve(lambda *_: (401, 'no such key'))
    out = tmp_path / 'run'
    args = ('eval', 'openeqa', '--data', openeqa, '--model', checkpoint, '--frames', 1)
    args += ('--max-new-tokens', 4, '--out', out, '--json', '--judge-url', server.url)
    args += ('--judge-model', 'judge-1')
    assert command(*args) == 1
    printed = capsys.readouterr()
    method = json.loads(printed.out)['methods']['tosa-0.25']
    assert [s['metric'] for s in method['scores']] == ['Exact match (normalised)', 'Token F1']
    assert 'HTTP 401' in printed.err
    assert 'no such key' in (out / 'report.md').read_text()
    answers = (out / 'tosa-0.25' / 'answers.jsonl').read_bytes()
    server.answer = lambda *_: reply('3')
    assert command(*args) == 0
    score = json.loads(capsys.readouterr().out)['methods']['tosa-0.25']['scores'][0]
    assert score['metric'] == "LLM-Match (judge judge-1, not OpenEQA's prompt)"
    assert score['overall'] == 50
    assert (out / 'tosa-0.25' / 'answers.jsonl').read_bytes() == answers
    marks = json.loads((out / 'tosa-0.25' / 'marks.json').read_text())
    assert marks == {f'id-{i}': 3 for i in range(4)}
