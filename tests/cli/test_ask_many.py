"""`tosa ask` with many questions: JSON Lines, resumed after a kill, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('transformers')

from tosa_ros.cli.main import main

TEXTS = ('What is it?', 'Is it dark?')


@pytest.fixture
def lines(model, capfd):
    """Runs `tosa ask` and returns its code, its JSON Lines and what it says beside."""

    def run(*words):
        code = main(['ask', *map(str, words), '--model', str(model), '--max-new-tokens', '3'])
        captured = capfd.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return run


def said(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_photo_of_a_folder_is_asked_each_question(lines, photos, ask):
    code, answers, _ = lines(photos / 'album', '--each', *TEXTS)
    assert code == 0
    names = [f'{photos}/album/{i}.jpg' for i in range(5)]
    assert [a['frame_ids'] for a in answers] == [[name] for name in names for _ in TEXTS]
    assert [a['question'] for a in answers] == [*TEXTS] * 5
    assert answers[3]['id'] == f'{names[1]}: {TEXTS[1]}'
    one = ask(names[2], TEXTS[0], '--max-new-tokens', 3)
    assert answers[4]['text'] == one['text']
    again = lines(*names, *TEXTS, '--each')[1]
    assert [a['text'] for a in again] == [a['text'] for a in answers]


def test_several_questions_about_all_frames_together(lines, photos):
    code, answers, _ = lines(photos / 'album', *TEXTS)
    assert (code, [a['id'] for a in answers]) == (0, list(TEXTS))
    assert {len(a['frame_ids']) for a in answers} == {5}
    _, answers, _ = lines(photos / 'walk.mp4', '--times', '1,2', '--each', TEXTS[0])
    assert [a['id'].partition('@')[2] for a in answers] == [
        f'1.000: {TEXTS[0]}',
        f'2.000: {TEXTS[0]}',
    ]


FILES = {
    'q.txt': 'What is it?\n\n  Is it dark?  \n',
    'q.csv': 'question\nWhat is it?\n"Is it dark?"\n',
    'q.json': json.dumps([{'question': text} for text in TEXTS]),
    'q.jsonl': '\n'.join(json.dumps({'question': text}) for text in TEXTS),
}


@pytest.mark.parametrize('name', FILES)
def test_questions_come_from_a_file_or_standard_input(lines, photos, tmp_path, monkeypatch, name):
    (tmp_path / name).write_text(FILES[name])
    one = photos / 'album' / '1.jpg'
    _, answers, _ = lines(one, '--questions', tmp_path / name)
    assert [a['question'] for a in answers] == list(TEXTS)
    if name != 'q.csv':
        monkeypatch.setattr(sys, 'stdin', io.StringIO(FILES[name]))
        _, again, _ = lines(one, '--questions', '-')
        assert [a['text'] for a in again] == [a['text'] for a in answers]


@pytest.mark.parametrize('kind', ['csv', 'semicolons', 'jsonl'])
def test_photos_have_questions_of_their_own(lines, photos, tmp_path, kind):
    own = 'Is it "dark", or not?'
    rows = [('2.jpg', 'What?', 'a'), ('0.jpg', own, 'b'), ('2.jpg', 'Who?', '')]
    if kind == 'jsonl':
        path = tmp_path / 'q.jsonl'
        records = [dict(zip(('image', 'question', 'id'), row, strict=True)) for row in rows]
        del records[2]['id']
        path.write_text('\n'.join(map(json.dumps, records)))
    else:
        path, comma = tmp_path / 'q.csv', ';' if kind == 'semicolons' else ','
        with path.open('w', newline='') as file:
            csv.writer(file, delimiter=comma).writerows([('image', 'question', 'id'), *rows])
    code, answers, _ = lines(photos / 'album', '--questions', path)
    assert code == 0
    assert [a['id'] for a in answers] == ['a', 'b', '2.jpg: Who?']
    assert [a['frame_ids'] for a in answers] == [['2.jpg'], ['0.jpg'], ['2.jpg']]
    assert answers[1]['question'] == rows[1][1]
    shutil.copy(path, photos / 'album' / path.name)
    beside = lines('--questions', photos / 'album' / path.name)[1]
    (photos / 'album' / path.name).unlink()
    assert [a['text'] for a in beside] == [a['text'] for a in answers]


def test_what_cannot_be_answered_is_named_and_costs_no_other(lines, photos, tmp_path):
    path, out = tmp_path / 'q.jsonl', tmp_path / 'a.jsonl'
    records = [{'image': name, 'question': 'What?'} for name in ('0.jpg', 'gone.jpg', '1.jpg')]
    path.write_text('\n'.join(map(json.dumps, records)))
    code, answers, err = lines(photos / 'album', '--questions', path)
    assert (code, [bool(a['error']) for a in answers]) == (1, [False, True, False])
    assert 'gone.jpg' in err
    code, _, err = lines(photos / 'album', '--questions', path, '--out', out)
    assert (code, len(said(out))) == (1, 2)
    assert '2 answers, 0 from before, 1 failed' in err
    code, _, err = lines(photos / 'album', '--questions', path, '--out', out)
    assert '0 answers, 2 from before, 1 failed' in err


def test_a_file_of_answers_goes_on_where_it_was_left(lines, photos, tmp_path):
    album, out = tmp_path / 'album', tmp_path / 'out' / 'answers.jsonl'
    shutil.copytree(photos / 'album', album)
    assert lines(album, '--each', TEXTS[0], '--out', out)[:2] == (0, [])
    first = out.read_text()
    code, _, err = lines(album, '--each', TEXTS[0], '--out', out)
    assert 'all 5 questions are answered' in err
    assert (code, out.read_text()) == (0, first)
    shutil.copy(album / '0.jpg', album / '7.jpg')
    out.write_text(first + '{"id": "cut o')
    lines(album, '--each', *TEXTS, '--out', out)
    assert out.read_text().startswith(first)
    assert len({a['id'] for a in said(out)}) == len(said(out)) == 12
    code, _, err = lines(album, '--each', TEXTS[0], '--out', out, '--keep', '0.5')
    assert code == 2
    assert 'made with method=' in err


def test_a_file_of_something_else_is_left_alone(lines, photos, tmp_path):
    thesis = tmp_path / 'thesis.jsonl'
    thesis.write_text('{"a": 1}\n')
    code, _, err = lines(photos / 'album', '--each', TEXTS[0], '--out', thesis)
    assert (code, thesis.read_text()) == (2, '{"a": 1}\n')
    assert 'thesis.jsonl: holds something else' in err
    code, _, err = lines(photos / 'album', '--each', TEXTS[0], '--out', tmp_path)
    assert 'is a folder; wanted a file' in err


def test_an_answer_to_another_question_is_not_taken_over(lines, photos, tmp_path):
    path, out = tmp_path / 'q.jsonl', tmp_path / 'a.jsonl'
    for question in TEXTS:
        path.write_text(json.dumps({'image': '0.jpg', 'question': question, 'id': 7}))
        code, _, err = lines(photos / 'album', '--questions', path, '--out', out)
    assert code == 2
    assert 'id 7 has the answer to' in err


def test_killed_it_loses_nothing_and_doubles_nothing(photos, model, tmp_path):
    album, out = tmp_path / 'album', tmp_path / 'answers.jsonl'
    album.mkdir()
    for number in range(60):
        shutil.copy(photos / 'album' / f'{number % 5}.jpg', album / f'{number}.jpg')
    words = ['ask', str(album), '--each', *TEXTS, '--out', str(out), '--model', str(model)]
    words += ['--batch', '2', '--max-new-tokens', '8', '-q']
    command = [sys.executable, '-m', 'tosa_ros.cli.main', *words]
    sizes = []
    for wanted in (1, 30):
        child = subprocess.Popen(command, env={**os.environ, 'OMP_NUM_THREADS': '1'})
        while child.poll() is None and (not out.exists() or out.read_text().count('\n') < wanted):
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        sizes.append(out.read_text().count('\n'))
    assert 0 < sizes[0] < sizes[1] < 120
    assert main(words) == 0
    answers = said(out)
    assert len(answers) == len({a['id'] for a in answers}) == 120
    whole = tmp_path / 'whole.jsonl'
    assert main([str(whole) if word == str(out) else word for word in words]) == 0
    assert {a['id']: a['text'] for a in answers} == {a['id']: a['text'] for a in said(whole)}


MISTAKES = {
    'a typo beside a question': (['desk.jgp', 'how many?'], 'desk.jgp: no such file'),
    'a photo that is gone': (['gone.jpg', 'how many mugs?'], 'gone.jpg: no such file'),
    'overlay': (['{album}', '--each', 'What?', '--overlay', 'o.png'], '--overlay is for one'),
    'json': (['{album}', '--each', 'What?', '--json'], '--json changes nothing'),
    'batch': (['{album}', 'What?', '--batch', '3'], '--batch is for many questions'),
    'bad batch': (['{album}', '--each', 'What?', '--batch', 'x'], '--batch: invalid'),
    'no batch': (['{album}', '--each', 'What?', '--batch', '0'], 'batch_size: 0'),
    'no file': (['{album}', '--questions', 'gone.txt'], 'gone.txt: no such file'),
    'empty': (['{album}', '--questions', '{empty}'], 'wanted a list of questions'),
    'unknown field': (['{album}', '--questions', '{odd}'], "unknown field 'imgae'"),
    'mixed': (['{album}', '--questions', '{mixed}'], 'wanted all or none'),
    'each of own images': (['{album}', '--each', '--questions', '{own}'], '--each has no effect'),
    'file for a folder': (['{album}/0.jpg', '--questions', '{own}'], 'wanted the one folder'),
    'one id': (['{album}', '--questions', '{twice}'], 'id 1 stands for two questions'),
    'intrinsics': (['{album}', '--each', 'W?', '--intrinsics', '1,1,1,1'], '--intrinsics changes'),
}
LISTS = {
    'empty': '[]',
    'odd': '{"question": "What?", "imgae": "a.jpg"}',
    'mixed': '{"question": "What?", "image": "0.jpg"}\n{"question": "Who?"}',
    'own': '{"question": "What?", "image": "0.jpg"}',
    'twice': '{"question": "What?", "id": 1}\n{"question": "Who?", "id": 1}',
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_one_line(lines, photos, tmp_path, mistake):
    words, message = MISTAKES[mistake]
    values = {'album': photos / 'album'}
    for name, text in LISTS.items():
        values[name] = tmp_path / f'{name}.jsonl'
        values[name].write_text(text)
    code, answers, err = lines(*(word.format(**values) for word in words))
    assert (code, answers) == (2, [])
    (line,) = [one for one in err.splitlines() if ': error: ' in one]
    assert message in line
