"""`tosa score`: predictions of a run, of a submission and from elsewhere have one number."""

from __future__ import annotations

import json

import pytest

from tosa_ros.cli.main import main
from tosa_ros.errors import DataError


@pytest.fixture
def openeqa(tmp_path):
    """Twelve questions about four rooms, and a function that writes predictions for them."""
    records = [
        {
            'question_id': f'q{n}',
            'question': f'What is thing {n}?',
            'answer': 'cup',
            'category': 'objects',
            'episode_history': f'hm3d/room{n % 4}',
        }
        for n in range(12)
    ]
    data = tmp_path / 'open-eqa.json'
    data.write_text(json.dumps(records))

    def predicted(name, right, count=12):
        said = {f'q{n}': 'a cup' if n in right else 'a mug' for n in range(count)}
        (tmp_path / name).write_text(json.dumps(said))
        return tmp_path / name

    return data, predicted


@pytest.fixture
def score(openeqa, command, capsys):
    def run(*more):
        code = command('score', 'openeqa', '--data', openeqa[0], *more, '--json')
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_number_its_interval_and_the_difference(openeqa, score, command, capsys):
    _, predicted = openeqa
    new, old = predicted('new.json', range(12)), predicted('old.json', (0, 4, 8))
    code, found = score('--predictions', new, '--against', old)
    assert code == 0
    assert list(found['methods']) == ['old', 'new']
    for label, overall in (('old', 25), ('new', 100)):
        (exact, _) = found['methods'][label]['scores']
        assert (exact['metric'], exact['overall']) == ('Exact match (normalised)', overall)
        assert exact['interval_over'] == '4 episodes'
    (gap,) = found['differences']
    assert (gap['label'], gap['against'], gap['points']) == ('new', 'old', pytest.approx(75))
    assert (gap['better'], gap['worse'], gap['p']) == (9, 0, pytest.approx(2 / 8))  # three rooms
    line = ('--data', openeqa[0], '--predictions', new, '--against', old)
    assert command('score', 'openeqa', *line) == 0
    out = capsys.readouterr().out
    assert '| new against old | +75.0 |' in out
    assert 'intervals and p over 4 episodes' in out


def test_what_is_missing_or_unknown_is_said_and_what_is_missing_is_wrong(openeqa, score):
    _, predicted = openeqa
    code, found = score('--predictions', predicted('p.json', range(12), count=9))
    assert code == 1
    assert found['methods']['p']['scores'][0]['overall'] == 75
    assert found['not_evaluated'] == {
        'p': "3 of 12 questions have no prediction and count as wrong, the first 'q9'"
    }
    code, found = score('--predictions', predicted('p.json', range(20), count=14))
    assert (code, found['methods']['p']['scores'][0]['overall']) == (0, 100)
    assert "2 answers are to no question of these, and not scored: 'q12', " in found['problems'][0]
    code, found = score('--predictions', predicted('p.json', range(12)), '--limit', 5)
    assert (code, found['questions'], found['problems']) == (0, 5, [])


def test_every_format_of_one_run_has_its_number(run, questions, command, capsys):
    scores = json.loads((run / 'scores.json').read_text())['methods']['none']['scores']
    for name in ('answers.jsonl', 'predictions.json'):
        line = ('--data', questions / 'jsonl.json', '--predictions', run / 'none' / name, '--json')
        assert command('score', 'jsonl', *line) == 0
        found = json.loads(capsys.readouterr().out)['methods']
        assert found['none']['scores'] == scores
        assert found['none']['cost']['tokens_after'] is None  # they are not in the file: not 0


def test_a_folder_of_scores_can_be_compared(openeqa, score, command, tmp_path, capsys):
    _, predicted = openeqa
    out = tmp_path / 'scored'
    new, old = predicted('new.json', range(12)), predicted('old.json', ())
    score('--predictions', new, old, '--out', out)
    assert command('compare', out) == 0
    assert '| old | - | 0.0 |' in capsys.readouterr().out
    with pytest.raises(DataError, match='this run was made with'):
        score('--predictions', new, '--out', out)


def test_tinyworld_needs_no_file_of_questions(tmp_path, command, capsys):
    pytest.importorskip('open3d')
    path = tmp_path / 'p.json'
    path.write_text(json.dumps({f'test-0-{n}': 'red' for n in range(4)}))
    line = ('score', 'tinyworld', '--limit', 4, '--predictions', path, '--json')
    assert command(*line) == 0
    (method,) = json.loads(capsys.readouterr().out)['methods'].values()
    assert method['answered'] == 4


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('', 'the following arguments are required: --predictions'),
        ('--predictions gone.json', 'gone.json: no such file'),
        ('--predictions other.json', 'answers none of these questions'),
        ('--predictions new.json --against new.json', 'new.json: is named twice'),
        ('--predictions new.json --frames-root x', 'there is no option --frames-root'),
        ('--predictions new.json --judge-url http://127.0.0.1:9/v1', '--judge-url needs --out'),
        ('--predictions new.json --limit 0', 'limit: 0; wanted at least 1'),
    ],
)
def test_one_line_and_code_2(openeqa, tmp_path, monkeypatch, capsys, line, message):
    data, predicted = openeqa
    monkeypatch.chdir(tmp_path)
    predicted('new.json', ())
    (tmp_path / 'other.json').write_text('{"x": "y"}')
    assert main(['score', 'openeqa', '--data', str(data), *line.split()]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_questions_without_answers_have_no_score(tmp_path, capsys):
    record = {'scene_id': 's', 'question_id': 'x', 'question': 'What?'}
    (tmp_path / 'q.json').write_text(json.dumps([record]))
    (tmp_path / 'p.json').write_text('{"x": "y"}')
    files = ['--data', str(tmp_path / 'q.json'), '--predictions', str(tmp_path / 'p.json')]
    assert main(['score', 'scanqa', *files]) == 2
    assert 'have no answers: nothing to score' in capsys.readouterr().err
