"""The quality tables come from answers that were really given, and given once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip('open3d')
pytest.importorskip('matplotlib')

from PIL import Image

from benchmarks import quality, tinyworld
from benchmarks.real import baselines

DOCUMENT = Path(__file__).parents[2] / 'docs' / 'quality.md'


def _run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['quality', *map(str, arguments)])
    assert quality.main() == 0


def test_tables_and_plots_are_filled_and_answers_kept(monkeypatch, tmp_path, capsys):
    (tmp_path / 'quality.md').write_text(DOCUMENT.read_text())
    sizes = ('--work', tmp_path / 'work', '--questions', 3, '--walks', 2)
    _run(monkeypatch, *sizes, '--docs', tmp_path, '--json')
    runs = json.loads(capsys.readouterr().out)['runs']
    methods = {'none', 'tome', 'tofu', 'pitome', 'tosa'}
    assert {run['method'] for run in runs} == methods | {one.name for one in baselines.ALL}
    assert {run['depth'] for run in runs} == {'sensor', 'noisy', 'monocular'}
    assert all(run['n'] in (2, 3) and 0 <= run['accuracy'] <= 1 for run in runs)
    text = (tmp_path / 'quality.md').read_text()
    for name in ('PiToMe', 'random patches', '2x2 pooling', 'smaller picture', 'DART'):
        assert f'| 0.25 | {name} | 64 |' in text
    assert '3 of `test`' in text
    for name in ('quality-keep.png', 'quality-gflops.png'):
        assert Image.open(tmp_path / name).size[0] > 600

    # A second run asks nothing: its answers are those kept.
    monkeypatch.setattr(tinyworld, 'evaluate', None)
    _run(monkeypatch, *sizes, '--json')
    assert json.loads(capsys.readouterr().out)['runs'] == runs


def test_every_run_of_the_tables_is_planned():
    plan = list(quality.plan())
    assert len(plan) == len(set(plan))
