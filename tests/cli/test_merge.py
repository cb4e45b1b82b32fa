"""`tosa merge`: shards from one folder or several machines are one run."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip('open3d')
pytest.importorskip('matplotlib')

from tosa_ros.cli.main import main

LABEL = 'tosa-0.25'


def lines(folder):
    return (folder / LABEL / 'answers.jsonl').read_text().splitlines()


def merged(capsys, *words):
    code = main(['merge', *map(str, words), '--json'])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if code < 2 else captured.err.strip()


def test_the_whole_run_has_every_answer_and_needs_no_model(shards, tmp_path, capsys, monkeypatch):
    out = shutil.copytree(shards, tmp_path / 'run')
    monkeypatch.setattr('tosa_ros.pipeline.VqaPipeline.from_pretrained', None)
    code, results = merged(capsys, out)
    assert code == 0
    assert results['questions'] == results['methods'][LABEL]['answered'] == 40
    assert lines(out) == lines(out / 'shard-1-of-2') + lines(out / 'shard-2-of-2')
    assert (out / 'report.html').is_file()
    assert json.loads((out / 'settings.json').read_text())['shard'] is None
    code, again = merged(capsys, out)
    assert code == 0
    assert again['methods'][LABEL]['scores'] == results['methods'][LABEL]['scores']
    assert len(lines(out)) == 40


def test_shards_come_from_elsewhere(shards, tmp_path, capsys):
    out = tmp_path / 'run'
    code, results = merged(capsys, out, shards / 'shard-1-of-2', shards / 'shard-2-of-2')
    assert code == 0
    assert results['methods'][LABEL]['answered'] == 40
    code, said = merged(capsys, out, shards / 'shard-2-of-2')
    assert code == 2
    assert 'is there already' in said


def test_what_is_missing_is_said(shards, tmp_path, capsys):
    out = tmp_path / 'run'
    code, results = merged(capsys, out, shards / 'shard-2-of-2')
    there = len(lines(shards / 'shard-2-of-2'))
    assert code == 1
    assert 0 < results['methods'][LABEL]['answered'] == there < 40
    assert f'{40 - there} of 40 questions have no answer' in str(results['not_evaluated'])


def test_shards_of_other_settings_are_refused(shards, tmp_path, capsys):
    out = shutil.copytree(shards, tmp_path / 'run')
    path = out / 'shard-2-of-2' / 'settings.json'
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, 'dtype': 'float16'}))
    code, said = merged(capsys, out)
    assert code == 2
    assert 'dtype' in said


def test_other_questions_are_refused(shards, tmp_path, capsys):
    out = shutil.copytree(shards, tmp_path / 'run')
    for path in out.glob('shard-*/made.jsonl'):
        path.write_text(path.read_text().replace('--limit 40', '--limit 39'))
    code, said = merged(capsys, out)
    assert code == 2
    assert 'are not those that its shards were asked' in said


@pytest.mark.parametrize('kind', ['missing', 'empty', 'whole run', 'no shard'])
def test_folders_that_are_none_are_one_line(shards, tmp_path, capsys, kind):
    out = tmp_path / 'run'
    words = [out]
    if kind == 'empty':
        out.mkdir()
    if kind == 'whole run':
        whole = shutil.copytree(shards / 'shard-1-of-2', tmp_path / 'whole')
        path = whole / 'settings.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), 'shard': None}))
        words.append(whole)
    if kind == 'no shard':
        words.append(tmp_path)
    code, said = merged(capsys, *words)
    assert code == 2
    assert len(said.splitlines()) == 1
    assert not out.exists() or kind == 'empty'
