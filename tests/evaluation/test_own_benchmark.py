"""Benchmarks of other packages, found by their entry points."""

from __future__ import annotations

import importlib
import json
import sys
import types

from tosa_ros.cli.main import main
from tosa_ros.errors import DataError
from tosa_ros.evaluation.questions import Benchmark, Question


class Kitchens(Benchmark):
    """A benchmark of another package, with an option of its own."""

    name = 'kitchens'

    @classmethod
    def load(cls, data, *, rooms=2):
        return cls([Question(str(n), 'What?', ('cup',), '', f'room {n}') for n in range(rooms)])

    @classmethod
    def add_arguments(cls, parser):
        super().add_arguments(parser)
        parser.add_argument('--rooms', type=int)

    def frames(self, episode):
        raise DataError('gone')


def test_another_package_adds_a_benchmark_by_an_entry_point(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'kitchens-1.dist-info').mkdir()
    (tmp_path / 'kitchens-1.dist-info' / 'METADATA').write_text('Name: kitchens\nVersion: 1\n')
    (tmp_path / 'kitchens-1.dist-info' / 'entry_points.txt').write_text(
        '[tosa_ros.benchmarks]\nkitchens = kitchens_of_others:Kitchens\n'
    )
    module = types.ModuleType('kitchens_of_others')
    module.Kitchens = Kitchens
    monkeypatch.setitem(sys.modules, 'kitchens_of_others', module)
    fresh = importlib.reload(importlib.import_module('tosa_ros.evaluation.benchmarks'))
    try:
        assert fresh.BENCHMARKS['kitchens'] is Kitchens
        line = ['eval', 'kitchens', '--data', 'x', '--dry-run', '--json', '--rooms', '3']
        assert main([*line, '--limit', '2']) == 1  # its rooms have no frames
        found = json.loads(capsys.readouterr().out)
        assert (found['questions'], found['settings']['rooms']) == (2, 3)
        assert main([*line, '--frames-root', 'x']) == 2
        assert 'there is no option --frames-root' in capsys.readouterr().err
    finally:
        fresh.BENCHMARKS.unregister('kitchens')
