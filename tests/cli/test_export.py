"""`tosa export` and `--tower`: what a user types and reads."""

from __future__ import annotations

import pytest

pytest.importorskip('transformers')

from tosa_ros.cli.main import main


@pytest.fixture(scope='module')
def tower(model, tmp_path_factory):
    """An exported tower of the model, at keep 0.5."""
    file = tmp_path_factory.mktemp('export') / 'tower.pt2'
    words = ['export', model, '--format', 'torch', '--keep', '0.5', '--dtype', 'float32']
    assert main([*map(str, words), '--out', str(file), '--quiet']) == 0
    return file


def test_a_question_is_answered_by_an_exported_tower(ask, rgbd, tower):
    options = ['--keep', '0.5', '--dtype', 'float32']
    wanted = ask(rgbd, '--question', 'What?', *options)
    got = ask(rgbd, '--question', 'What?', *options, '--tower', tower)
    assert got['text'] == wanted['text']
    assert got['tokens_after'] == wanted['tokens_after'] == got['tokens_before'] / 2
    assert got['spatial'] == wanted['spatial']


def test_a_view_is_drawn_by_an_exported_tower(ask, rgbd, tower):
    options = ['--keep', '0.5', '--dtype', 'float32', '--method', 'tosa']
    wanted = ask(rgbd, *options, command='view')
    assert ask(rgbd, *options, '--tower', tower, command='view') == wanted


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--keep', '0.25'], 'merges by --method tosa --keep 0.5, and cannot by --method tosa:'),
        (['--keep', '0.5', '--tiles'], 'tiles: the tower'),
        (['--keep', '0.5', '--compile'], 'compile: the tower'),
    ],
)
def test_what_the_tower_does_not_do_is_one_line(ask, rgbd, tower, options, words):
    line = ask(rgbd, '--question', 'What?', *options, '--tower', tower)
    assert words in line


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        ('--format onnx --out {tmp}/tower.xml', 'ends in .onnx'),
        ('--format onnx --out {tmp}/gone/tower.onnx', 'there is no folder'),
        ('--format onnx --out {tmp}/t.onnx --spatial metric --depth none', "spatial: 'metric'"),
        ('--format onnx --out {tmp}/t.onnx --dtype bfloat16', 'written in float32'),
    ],
)
def test_what_cannot_be_exported_is_one_line(words, reason, model, tmp_path, capsys):
    assert main(['export', str(model), *words.format(tmp=tmp_path).split()]) == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
