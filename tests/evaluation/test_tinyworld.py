"""The tiny world as a benchmark: views and walks, guessing, depths, and the embedded model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('open3d')

from tosa_ros import NoMerging, VqaPipeline
from tosa_ros.assets import embedded_depth, embedded_model
from tosa_ros.cli.main import main
from tosa_ros.depth import MonocularDepth
from tosa_ros.errors import DataError, ModelError
from tosa_ros.evaluation.asking import Asking
from tosa_ros.evaluation.benchmarks.tinyworld import TinyWorld
from tosa_ros.evaluation.conditions import DEPTHS, shown
from tosa_ros.evaluation.run_folder import RunFolder
from tosa_ros.evaluation.runner import evaluate, gigaflops


def made(*groups):
    """A benchmark of one scene, from (type, answers, options) groups."""
    questions = [
        SimpleNamespace(text='?', type=kind, answer=answer, options=options)
        for kind, answers, options in groups
        for answer in answers
    ]
    return TinyWorld({'scene': ((), questions)})


def test_guessing_is_the_better_of_majority_and_options():
    assert made(('counting', '1123', ())).guessing() == {'counting': 50, 'all': 50}
    assert made(('nearer', 'abcd', ('a', 'b'))).guessing()['all'] == 50
    both = made(('counting', '1123', ()), ('colour', ['red'] * 4, ()))
    assert both.guessing() == {'counting': 50, 'colour': 100, 'all': 75}


def test_views_and_walks_are_the_same_every_time_and_as_many_as_wanted():
    walks, again = (TinyWorld.load(scenes='walks', frames=4, limit=20) for _ in range(2))
    assert walks.questions == again.questions
    assert len(walks.questions) == 20
    assert list(walks.by_episode()) == ['test-0', 'test-1']
    assert len(walks.frames('test-1')) == 4
    np.testing.assert_array_equal(walks.frames('test-1')[3].rgb, again.frames('test-1')[3].rgb)
    right = {q.id: f' {q.answers[0].upper()} ' for q in walks.questions}
    assert walks.score(right)[0].overall == 100
    (view,) = TinyWorld.load(split='val', limit=3).frames('val-0')
    assert view.depth_m is not None


@pytest.mark.parametrize(
    ('wish', 'match'),
    [
        ({'split': 'dream'}, "split.*'dream'"),
        ({'limit': 0}, 'limit: 0'),
        ({'scenes': 'films'}, "scenes: 'films'"),
        ({'frames': 4}, 'use it with --scenes walks'),
    ],
)
def test_bad_wishes(wish, match):
    with pytest.raises(DataError, match=match):
        TinyWorld.load(**wish)


def test_depths_differ_and_nothing_else():
    (frame,) = TinyWorld.load(limit=1).frames('test-0')
    estimate = MonocularDepth.from_pretrained(embedded_depth('metric')).replace_depth
    changes = {depth: shown(depth, estimate=estimate) for depth in DEPTHS}
    assert changes.pop('sensor') is None
    noisy, guessed, none = (change(frame) for change in changes.values())
    for other in (noisy, guessed, none):
        np.testing.assert_array_equal(frame.rgb, other.rgb)
    assert np.isfinite(frame.depth_m).all()
    assert np.isnan(noisy.depth_m).any()
    assert 0 < np.nanmax(np.abs(noisy.depth_m - frame.depth_m)) < 0.3
    np.testing.assert_array_equal(noisy.depth_m, changes['noisy'](frame).depth_m)
    error = np.nanmedian(np.abs(guessed.depth_m - frame.depth_m) / frame.depth_m)
    assert 0 < error < 0.3
    assert none.depth_m is None
    black = shown('sensor', blind=True)(frame)
    assert not black.rgb.any()
    assert black.depth_m is None
    with pytest.raises(DataError, match=r'noisy needs frames with depth in metres'):
        changes['noisy'](none)
    with pytest.raises(DataError, match="depth: 'sonar'"):
        shown('sonar')


def test_batches_give_the_answers_of_single_questions_and_fail_blind(tmp_path):
    pipeline = VqaPipeline.from_pretrained(embedded_model())
    methods, benchmark = {'none': NoMerging()}, TinyWorld.load(limit=48)

    def answers(name, **how):
        asking = Asking(frames=None, max_new_tokens=6, **how)
        with RunFolder(tmp_path / name, {}) as folder:
            outcome = evaluate(benchmark, pipeline, methods, folder, asking)
        (score,) = benchmark.score(outcome.predictions('none'))
        return outcome.answers['none'], score.overall

    (batched, right), (alone, _) = answers('batched'), answers('alone', batch=1)
    assert [r['answer'] for r in batched] == [r['answer'] for r in alone]
    assert right > 80
    assert {r['tokens_after'] for r in batched} == {256}
    assert sum(r['vision_ms'] > 0 for r in batched) == len(benchmark.by_episode())
    assert answers('blind', change=shown('none', blind=True))[1] < 65
    assert gigaflops(benchmark, pipeline, methods, Asking())['none'] > 0.5


def test_the_command_compares_methods_in_pairs_and_keeps_every_answer(tmp_path, capsys):
    chosen = ['--method', 'none', '--method', 'tome', '--method', 'tosa', '--keep', '0.5']
    line = ['eval', 'tinyworld', '--json', '--limit', '24', '--gflops', *chosen]
    assert main([*line, '--out', str(tmp_path / 'run')]) == 0
    results = json.loads(capsys.readouterr().out)
    tokens = {label: one['cost']['tokens_after'] for label, one in results['methods'].items()}
    assert tokens == {'none': 256, 'tome-0.5': 128, 'tosa-0.5': 128}
    gflops = [one['cost']['gflops'] for one in results['methods'].values()]
    assert 0 < min(gflops) <= max(gflops) == gflops[0]
    assert [(d['label'], d['against']) for d in results['differences']] == [
        ('tome-0.5', 'none'),
        ('tosa-0.5', 'none'),
        ('tosa-0.5', 'tome-0.5'),
    ]
    assert results['guessing']['all'] > 10
    report = (tmp_path / 'run' / 'report.md').read_text()
    for wanted in ('guessing', 'tosa-0.5 against tome-0.5', 'GFLOPs'):
        assert wanted in report
    assert len((tmp_path / 'run' / 'none' / 'answers.jsonl').read_text().splitlines()) == 24


def test_shards_together_are_the_whole_run(tmp_path, capsys):
    line = ['eval', 'tinyworld', '--limit', '40', '--method', 'tosa', '--json']
    assert main([*line, '--out', str(tmp_path / 'whole')]) == 0
    whole = json.loads(capsys.readouterr().out)
    shared = [*line, '--out', str(tmp_path / 'shared')]
    counts = []
    for shard in ('1/3', '2/3', '3/3'):
        assert main([*shared, '--shard', shard]) == 0
        counts.append(json.loads(capsys.readouterr().out)['questions'])
    assert sum(counts) == 40
    assert min(counts) > 0
    assert main(shared) == 0
    joined = json.loads(capsys.readouterr().out)
    assert joined['methods']['tosa-0.25']['scores'] == whole['methods']['tosa-0.25']['scores']
    one, other = (
        (tmp_path / name / 'tosa-0.25' / 'predictions.json').read_bytes()
        for name in ('whole', 'shared')
    )
    assert one == other
    times = [
        (tmp_path / 'shared' / place / 'tosa-0.25' / 'answers.jsonl').read_text().splitlines()
        for place in ('shard-1-of-3', 'shard-2-of-3', 'shard-3-of-3', '')
    ]
    assert times[3] == times[0] + times[1] + times[2]  # taken up, not asked again
    assert main([*shared, '--shard', '4/3']) == 2
    assert '--shard 4/3; wanted i/n' in capsys.readouterr().err
    assert main([*shared, '--shard', '1/3', '--batch', '2']) == 2
    assert "made with batch='auto', not 2" in capsys.readouterr().err


OTHER_SETTINGS = (
    ('--limit 2', 'limit=3, not 2'),
    ('--blind', 'blind=False, not True'),
    ('--depth none', "depth='sensor', not 'none'"),
    ('--depth noisy', "depth='sensor', not 'noisy'"),
    ('--depth monocular', "depth='sensor', not 'monocular'"),
    ('--batch 2', "batch='auto', not 2"),
    ('--max-new-tokens 9', 'max_new_tokens=6, not 9'),
    ('--prompt A:{question}', "prompt='{question}', not 'A:{question}'"),
    ('--split val', "questions='"),
    ('--scenes walks', "questions='"),
    ('--dtype bfloat16', "dtype=None, not 'bfloat16'"),
)


def test_a_run_is_not_taken_up_with_other_settings(tmp_path, capsys):
    line = [
        'eval',
        'tinyworld',
        '--limit',
        '3',
        '--method',
        'none',
        '--out',
        str(tmp_path / 'run'),
    ]
    assert main(line) == 0
    capsys.readouterr()
    for words, message in OTHER_SETTINGS:
        for more in ([], ['--dry-run']):
            assert main([*line, *words.split(), *more]) == 2, words
            assert f'this run was made with {message}' in capsys.readouterr().err
    assert main([*line, '--dry-run']) == 0


def test_unknown_embedded_estimator():
    with pytest.raises(ModelError, match="'sonar'"):
        embedded_depth('sonar')
