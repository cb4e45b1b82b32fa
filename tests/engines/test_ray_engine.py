"""Evaluations and `ask_many` by Ray: the same bytes, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip('ray')
pytest.importorskip('open3d')

from tosa_ros.assets import embedded_model
from tosa_ros.engines.ray import RayEngine
from tosa_ros.engines.workers import WorkersError
from tosa_ros.errors import QuestionError
from tosa_ros.merging import ToSA
from tosa_ros.pipeline import VqaPipeline

LINE = ['eval', 'tinyworld', '--limit', '160', '--method', 'tosa', '--gallery', '0', '-q']
RAY = ['--workers', 'ray', '--num-workers', '2']
LABEL = 'tosa-0.25'


def tosa(*words):
    """`tosa`, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'tosa_ros.cli.main', *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process):
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    return out


def asked(run):
    path = run / LABEL / 'answers.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)['question_id'] for line in lines]


def wait_for_answers(run, count):
    until = time.monotonic() + 200
    while len(asked(run)) < count:
        assert time.monotonic() < until
        time.sleep(0.05)


def below(pid):
    """The processes that a process started, and those started."""
    parents = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found, new = set(), {pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new} - found
    return found - {pid}


def is_worker(pid):
    try:
        return b'_Worker' in Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return False


@pytest.fixture(scope='module')
def serial(tmp_path_factory):
    """What one process predicts."""
    run = tmp_path_factory.mktemp('serial') / 'run'
    ended(tosa(*LINE, '--out', run))
    return (run / LABEL / 'predictions.json').read_bytes()


def test_a_killed_worker_changes_no_byte(serial, tmp_path):
    run = tmp_path / 'run'
    process = tosa(*LINE, *RAY, '--out', run)
    wait_for_answers(run, 1)
    victims = [pid for pid in below(process.pid) if is_worker(pid)]
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    ended(process)
    assert len(asked(run)) == len(set(asked(run))) == 160
    assert (run / LABEL / 'predictions.json').read_bytes() == serial


def test_a_killed_driver_loses_and_doubles_nothing(serial, tmp_path):
    run = tmp_path / 'run'
    process = tosa(*LINE, *RAY, '--out', run)
    wait_for_answers(run, 1)
    started = below(process.pid)
    process.kill()
    process.communicate()
    before = asked(run)
    assert 0 < len(before) < 160
    until = time.monotonic() + 60
    while any(Path(f'/proc/{pid}/stat').exists() and is_worker(pid) for pid in started):
        assert time.monotonic() < until, 'workers outlive their driver'
        time.sleep(0.2)
    ended(tosa(*LINE, *RAY, '--out', run))
    assert asked(run)[: len(before)] == before
    assert len(asked(run)) == len(set(asked(run))) == 160
    assert (run / LABEL / 'predictions.json').read_bytes() == serial


def requests(frames):
    for number in range(30):
        question = ('What colour is the ball?', 'How many cubes are there?')[number % 2]
        yield {'id': f'r{number}', 'question': question, 'frames': frames[number // 2 % 3]}


def test_requests_are_answered_in_order_and_as_here(frames):
    merging = ToSA(keep=0.5)
    # Of noise, long answers are toss-ups, which fall by the last bit.
    how = {'dtype': torch.float32}
    here = VqaPipeline.from_pretrained(embedded_model(), merging=merging, **how)
    own = list(here.ask_many(requests(frames), progress=False, max_new_tokens=3))
    with RayEngine(
        embedded_model(), merging=merging, num_workers=2, at_once=4, model=how, max_new_tokens=3
    ) as engine:
        answers = list(engine.ask_many(requests(frames), progress=False))
        assert [one.id for one in answers] == [f'r{number}' for number in range(30)]
        assert [one.text for one in answers] == [one.text for one in own]
        assert {one.keep for one in answers} == {0.5}
        bad = [{'id': 'bad', 'question': 'Why?', 'frames': '/gone.png'}, *requests(frames)]
        told = list(engine.ask_many(bad, progress=False, on_error='record'))
        assert len(told) == 31
        assert '/gone.png' in told[0].error
        assert not any(one.error for one in told[1:])
        with pytest.raises(QuestionError, match=r"request 'bad': .*/gone\.png"):
            list(engine.ask_many(bad, progress=False))
        assert [one.text for one in here.ask_many(requests(frames), engine=engine)] == [
            one.text for one in own
        ]


def test_a_model_that_is_not_there_is_one_line(frames):
    with (
        RayEngine('/gone/model') as engine,
        pytest.raises(WorkersError, match=r'a worker cannot start: .*/gone/model'),
    ):
        list(engine.ask_many(requests(frames), progress=False))
