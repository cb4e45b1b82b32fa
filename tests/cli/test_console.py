"""What stands on a terminal: help, suggestions, -v and -q, progress bars, completion, devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tosa_ros.cli import console
from tosa_ros.cli.main import COMMANDS, build_parser, leaves, main
from tosa_ros.cli.parsing import option_strings


def test_without_arguments_there_is_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert 'usage: tosa' in out
    assert all(f'    {name} ' in out for name in COMMANDS)


@pytest.mark.parametrize('leaf', leaves(build_parser()), ids=lambda leaf: leaf.prog)
def test_every_help_has_an_example_and_explains_every_option(leaf):
    text = leaf.format_help()
    command = leaf.prog if 'eval' not in leaf.prog else 'tosa eval'
    assert f'  {command}' in text.partition('example')[2]
    assert all(action.help for action in leaf._actions), leaf.prog
    assert {'--verbose', '--quiet', '--debug'} <= set(option_strings(leaf))
    assert leaf.allow_abbrev is False


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('evl', "'evl' is unknown; did you mean eval?"),
        ('eval tinywrld', "'tinywrld' is unknown; did you mean tinyworld?"),
        ('bag from', "'from' is unknown; did you mean from-episode?"),
        ('ask --modle m', 'there is no option --modle; did you mean --model?'),
        ('world --out o --frame 3', 'there is no option --frame; did you mean --frames?'),
        ('ask --met tosa', 'there is no option --met'),
        ('view --method tsoa', "'tsoa' is unknown; did you mean tosa?"),
        ('eval tinyworld --split tset', "'tset' is unknown; did you mean test?"),
        ('info now', "'now' is one argument too many"),
        ('ask a.png --keep', 'argument --keep: expected one argument'),
        ('info -v -q', 'not allowed with'),
        ('', 'one of the arguments'),
    ],
)
def test_mistakes_are_one_line_with_what_was_meant(capsys, line, message):
    words = line.split() or ['replay', 'b', '--questions', 'q']
    assert main(words) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith('tosa')
    assert ': error: ' in error
    assert message in error


def test_verbose_says_more_and_quiet_nothing_but_results(capsys, photos, model):
    pytest.importorskip('transformers')
    line = ['ask', str(photos / 'album' / '0.jpg'), 'What is it?', '--model', str(model)]
    said = {}
    for option in ('', '-v', '-q'):
        assert main([*line, *filter(None, [option])]) == 0
        said[option] = capsys.readouterr()
    assert said[''].out == said['-v'].out == said['-q'].out
    assert said['-q'].err == ''
    assert 'visual tokens' in said[''].err
    assert f'model {model} on ' in said['-v'].err
    assert 'ask took ' in said['-v'].err
    assert 'ask took ' not in said[''].err


def test_debug_shows_where_an_error_comes_from(capsys):
    assert main(['compare', 'gone']) == 2
    with pytest.raises(Exception, match='holds no scores'):
        main(['compare', 'gone', '--debug'])


def test_progress_bars_are_for_terminals(monkeypatch, capsys):
    monkeypatch.setattr(console, '_level', console.NORMAL)
    with console.counter() as show:
        show(0, 3)
        show(2, 3)
    list(console.progress(range(3), 3, 'counting', delay=0))
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    list(console.progress(range(3), 3, 'counting', delay=0, leave=True))
    assert 'counting' in capsys.readouterr().err
    monkeypatch.setattr(console, '_level', console.QUIET)
    list(console.progress(range(3), 3, 'counting', delay=0, leave=True))
    assert capsys.readouterr().err == ''


def completed(line, tmp_path):
    """What the shell would offer at the end of a line."""
    out = tmp_path / 'completions'
    asked = {'_ARGCOMPLETE': '1', 'COMP_LINE': line, 'COMP_POINT': str(len(line))}
    asked |= {'_ARGCOMPLETE_STDOUT_FILENAME': str(out), '_ARGCOMPLETE_IFS': '\n'}
    command = [sys.executable, '-m', 'tosa_ros.cli.main']
    subprocess.run(command, env={**os.environ, **asked}, check=True, capture_output=True)
    return {word.strip() for word in out.read_text().split('\n')}


def test_the_shell_completes_commands_benchmarks_and_options(tmp_path):
    pytest.importorskip('argcomplete')
    assert completed('tosa e', tmp_path) == {'eval', 'export'}
    assert {'openeqa', 'tinyworld', 'gqa'} <= completed('tosa eval ', tmp_path)
    assert completed('tosa eval tinyworld --li', tmp_path) == {'--limit'}
    assert completed('tosa view --method pi', tmp_path) == {'pitome'}


def test_the_best_device_is_chosen_and_an_absent_one_refused(monkeypatch, capsys):
    import torch

    from tosa_ros.devices import checked_device

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert checked_device('auto') == 'cuda'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    assert checked_device('auto') == 'mps'
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    assert checked_device('auto') == 'cpu'
    line = ['eval', 'tinyworld', '--limit', '1', '--dry-run', '--device', 'cuda:9']
    assert main(line) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "device 'cuda:9': not available here" in error
