"""Accuracy by type, its interval, its baseline, and paired tests, on the tiny world."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('open3d')

from tosa_ros import NoMerging, VqaPipeline
from tosa_ros.assets import embedded_depth, embedded_model
from tosa_ros.cli.main import main
from tosa_ros.errors import DataError, ModelError
from tosa_ros.evaluation import quality
from tosa_ros.stats import wilson


def _question(kind, answer, options=()):
    return SimpleNamespace(type=kind, answer=answer, options=options)


def test_the_paired_test_is_mcnemars():
    first = [True] * 8 + [False] * 2 + [True] * 50
    second = [False] * 8 + [True] * 2 + [True] * 50
    pair = quality.compared(first, second)
    assert (pair.only_first, pair.only_second) == (8, 2)
    assert pair.p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert quality.compared(first, first).p == 1
    with pytest.raises(DataError, match='60 and 2 answers'):
        quality.compared(first, [True, False])


def test_baseline_is_the_better_of_majority_and_options():
    counting = [_question('counting', a) for a in '1123']
    named = [_question('nearer', a, ('a', 'b')) for a in ('a', 'b', 'c', 'd')]
    assert quality.baseline(counting) == 0.5
    assert quality.baseline(named) == 0.5
    assert quality.baseline(counting + [_question('colour', 'red')] * 4) == 0.75


def test_summary_is_by_type():
    questions = [_question('counting', '1'), _question('counting', '2'), _question('state', 'up')]
    found = quality.summary([True, False, True], questions)
    assert found['accuracy'] == pytest.approx(2 / 3)
    assert found['by_type']['counting']['accuracy'] == 0.5
    assert found['by_type']['state'] == {
        'accuracy': 1.0,
        'interval_95': list(wilson(1, 1)),
        'n': 1,
        'baseline': 1.0,
    }


def test_depths_differ_and_nothing_else():
    exact, noisy, guessed, none = (
        quality.scenes('test', 30, depth=kind) for kind in quality.DEPTHS
    )
    texts = [[q.text for s in one for q in s.questions] for one in (exact, noisy, guessed, none)]
    assert texts[0] == texts[1] == texts[2] == texts[3]
    assert len(texts[0]) == 30
    a, b, c = (one[0].frames[0] for one in (exact, noisy, guessed))
    assert np.array_equal(a.rgb, b.rgb)
    assert np.isfinite(a.depth_m).all()
    assert np.isnan(b.depth_m).any()
    error = np.nanmedian(np.abs(c.depth_m - a.depth_m) / a.depth_m)
    assert 0 < error < 0.3
    assert none[0].frames[0].depth_m is None


def test_walks_have_several_frames():
    (walk, *_) = quality.scenes('val', 5, of='walks', frames=4)
    assert len(walk.frames) == 4


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (('dream', 5, {}), "split: 'dream'"),
        (('test', 0, {}), 'questions: 0'),
        (('test', 5, {'of': 'films'}), "scenes: 'films'"),
        (('test', 5, {'depth': 'sonar'}), "depth: 'sonar'"),
    ],
)
def test_bad_wishes(arguments, match):
    split, count, more = arguments
    with pytest.raises(DataError, match=match):
        quality.scenes(split, count, **more)


def test_answers_are_those_of_single_questions_and_fail_blind():
    pipeline = VqaPipeline.from_pretrained(embedded_model(), merging=NoMerging())
    scenes = quality.scenes('test', 48)
    sizes = []
    right = quality.answers(pipeline, scenes, sizes.append)
    assert sizes == [256] * len(scenes)
    assert np.mean(right) > 0.8
    first = scenes[0]
    alone = [pipeline.ask(first.frames[0], q.text).text == q.answer for q in first.questions]
    assert right[: len(alone)] == alone
    assert np.mean(quality.answers(pipeline, map(quality.blinded, scenes))) < 0.65
    assert quality.gigaflops(pipeline, first) > 0.5


def test_command_gives_the_runs_and_the_pairs(capsys):
    chosen = ['--method', 'none', '--method', 'tome', '--method', 'tosa', '--keep', '0.5']
    assert main(['eval', 'tinyworld', '--json', '--limit', '24', *chosen]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(r['method'], r['keep'], r['n'], r['tokens']) for r in report['runs']] == [
        ('none', 1.0, 24, 256.0),
        ('tome', 0.5, 24, 128.0),
        ('tosa', 0.5, 24, 128.0),
    ]
    assert all(0 < r['gflops'] <= report['runs'][0]['gflops'] for r in report['runs'])
    assert [(p['first'], p['second']) for p in report['pairs']] == [
        ('tosa', 'none'),
        ('tosa', 'tome'),
    ]
    assert main(['eval', 'tinyworld', '--data', 'x']) == 2
    assert main(['eval', 'openeqa']) == 2
    assert '--data is missing' in capsys.readouterr().err


def test_unknown_embedded_estimator():
    with pytest.raises(ModelError, match="'sonar'"):
        embedded_depth('sonar')
