"""The command as a user calls it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tosa_ros.cli.main import main
from tosa_ros.settings import METHODS
from tosa_ros.vlm.untrained import write_checkpoint


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp('cli') / 'model', seed=1))


@pytest.fixture
def scene(tmp_path):
    """A wall at 2 m and a box at 1 m in front of it, as files."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 40, (60, 80, 3), dtype=np.uint8) + 60
    depth = np.full((60, 80), 2000, np.uint16)
    rgb[20:50, 30:60] = (200, 40, 40)
    depth[20:50, 30:60] = 1000
    depth[:5] = 0
    Image.fromarray(rgb).save(tmp_path / 'c.png')
    Image.fromarray(depth).save(tmp_path / 'd.png')
    Image.fromarray((depth // 16).astype(np.uint8)).save(tmp_path / 'eight.png')
    Image.fromarray(np.zeros((60, 80), np.uint16)).save(tmp_path / 'empty.png')
    Image.fromarray(depth[:30]).save(tmp_path / 'half.png')
    return tmp_path


def frame_args(scene, depth='d.png', scale='1000'):
    return [
        '--rgb',
        str(scene / 'c.png'),
        '--depth',
        str(scene / depth),
        '--depth-scale',
        scale,
        '--intrinsics',
        '60,60,40,30',
    ]


def test_ask_prints_one_json_object_and_nothing_else(model, scene, capfd):
    args = ['ask', *frame_args(scene), '--question', 'How many boxes?', '--model', model, '--json']
    assert main([*args, '--overlay', str(scene / 'o.png')]) == 0
    out = capfd.readouterr().out
    answer = json.loads(out)
    assert out.count('\n') == 1
    assert answer['tokens_before'] == 36
    assert answer['tokens_after'] == 9
    assert answer['spatial'] == 'metric'
    assert answer['method'] == 'tosa'
    assert min(answer[k] for k in ('vision_ms', 'prefill_ms', 'decode_ms')) > 0
    overlay = np.asarray(Image.open(scene / 'o.png'))
    assert overlay.shape[1] == 2 * 480 + 6
    assert not list(scene.glob('.*'))


@pytest.mark.parametrize('method', list(METHODS))
def test_every_method_answers(model, scene, capfd, method):
    args = ['ask', *frame_args(scene), '--question', 'What?', '--model', model, '--json']
    keep = [] if method == 'none' else ['--keep', '0.5']
    assert main([*args, '--method', method, *keep]) == 0
    after = 36 if method == 'none' else 18
    assert json.loads(capfd.readouterr().out)['tokens_after'] == after


def test_frames_without_depth_and_several_frames(model, scene, capfd):
    rgb = ['--rgb', str(scene / 'c.png')]
    assert main(['ask', *rgb, *rgb, '--question', 'What?', '--model', model, '--json']) == 0
    answer = json.loads(capfd.readouterr().out)
    assert (answer['frames'], answer['spatial'], answer['tokens_after']) == (2, 'none', 18)


def test_plain_output_is_the_answer_alone(model, scene, capfd):
    assert main(['ask', *frame_args(scene), '--question', 'What?', '--model', model]) == 0
    captured = capfd.readouterr()
    assert '9 of 36 visual tokens (spatial: metric)' in captured.err
    assert 'tokens' not in captured.out


def test_view_figures_picture_and_cloud(model, scene, capfd):
    args = ['view', *frame_args(scene), '--model', model, '--json', '--keep', '0.5']
    out, cloud = scene / 'view.png', scene / 'cloud.ply'
    assert main([*args, '--out', str(out), '--cloud', str(cloud)]) == 0
    report = json.loads(capfd.readouterr().out)
    assert list(report['methods']) == ['tosa', 'tome', 'tofu', 'pitome']
    for figures in report['methods'].values():
        assert figures['tokens'] == 18
        assert figures['depth_spread_m'] >= 0
        assert 0 <= figures['edge_straddle'] <= 1
    assert Image.open(out).size == (6 * 320 + 5 * 6, 22 + 240)
    assert _ply_points(cloud) == 80 * 55


def _ply_points(path):
    header = path.read_bytes().split(b'end_header')[0].decode()
    return int(header.split('element vertex ')[1].split()[0])


def test_view_of_a_random_tower_says_so(scene, capfd, monkeypatch):
    from tosa_ros.vlm import untrained

    kind, dims, *rest = untrained.TOWERS['so400m']
    # The real architecture takes half a minute here; fewer layers prove the same path.
    small = {**dims, 'num_hidden_layers': 3}
    monkeypatch.setitem(untrained.TOWERS, 'so400m', (kind, small, *rest))
    args = ['view', *frame_args(scene), '--tower', 'so400m', '--json', '--dtype', 'bfloat16']
    assert main([*args, '--method', 'tosa', '--method', 'tome', '--keep', '0.1']) == 0
    captured = capfd.readouterr()
    assert 'random weights' in captured.err
    methods = json.loads(captured.out)['methods']
    assert methods['tosa']['tokens'] == methods['tome']['tokens'] == 73
    assert methods['tosa']['depth_spread_m'] < methods['tome']['depth_spread_m']


def test_info_names_what_is_installed(capfd):
    assert main(['info', '--json']) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts['packages']['torch']
    assert set(facts['optional']['rclpy']) == {'installed', 'extra', 'for'}
    assert main(['info']) == 0
    assert 'device: cpu' in capfd.readouterr().out


ASK = ['--question', 'x', 'FRAME d.png 1000']
MISTAKES = {
    'no frames': (['--question', 'x'], 'give either --rgb FILE'),
    'unreadable': (['--question', 'x', '--rgb', '{scene}/absent.png'], 'absent.png'),
    'not a picture': (['--question', 'x', '--rgb', __file__], 'test_ask_and_view.py'),
    'no scale': (
        ['--question', 'x', '--rgb', '{scene}/c.png', '--depth', '{scene}/d.png'],
        '--depth needs --depth-scale',
    ),
    'depth twice': (
        ['--question', 'x', '--rgb', '{scene}/c.png', *['--depth', '{scene}/d.png'] * 2],
        '--depth is given 2 times for 1 colour images',
    ),
    'other size': (['--question', 'x', 'FRAME half.png 1000'], '80x30 pixels'),
    'eight bits': (['--question', 'x', 'FRAME eight.png 1000'], 'eight.png'),
    'empty depth': (
        ['--question', 'x', 'FRAME empty.png 1000'],
        'none of its 4800 pixels is valid',
    ),
    'zero scale': (['--question', 'x', 'FRAME d.png 0'], 'scale'),
    'zero focal length': (
        ['--question', 'x', '--rgb', '{scene}/c.png', '--intrinsics', '0,60,40,30'],
        'fx is 0',
    ),
    'three intrinsics': (
        ['--question', 'x', '--rgb', '{scene}/c.png', '--intrinsics', '1,2,3'],
        'intrinsics',
    ),
    'keep too large': ([*ASK, '--keep', '1.5'], 'keep: 1.5; wanted'),
    'keep zero': ([*ASK, '--keep', '0'], 'keep: 0.0; wanted'),
    'odd alpha': ([*ASK, '--alpha', 'up'], "alpha: 'up'; wanted one of"),
    'a setting of another method': (
        [*ASK, '--method', 'tome', '--alpha', 'uniform'],
        'alpha: the method tome has no such setting; wanted one of tosa for it',
    ),
    'a setting of no merging': (
        [*ASK, '--method', 'none', '--keep', '0.5'],
        'keep: the method none has no such setting; wanted one of tosa, tome, tofu, pitome',
    ),
    'keep and r': ([*ASK, '--keep', '0.5', '--r', '3'], 'keep=0.5 and r=3 are both given'),
    'merging backwards': (
        [*ASK, '--merge-at', '4,2'],
        "merge_at: '4,2'; wanted one of most, few, every, or a rising list",
    ),
    'huge question': (
        ['--question', 'x' * 100_000, 'FRAME d.png 1000'],
        '100,000 characters; at most',
    ),
    'empty question': (['--question', ' ', 'FRAME d.png 1000'], 'wanted text'),
    'no such model': (
        [*ASK, '--model', '/nowhere'],
        "'/nowhere' is not a folder",
    ),
    'no such device': (
        [*ASK, '--device', 'warp'],
        "device 'warp': not available here",
    ),
    'frames of files': (
        [*ASK, '--frames', '3'],
        '--frames goes with a folder, video or bag',
    ),
    'picture nowhere': (
        [*ASK, '--overlay', '/nowhere/o.png'],
        '/nowhere/o.png: cannot be written: No such file',
    ),
    'picture of a kind that is only read': (
        [*ASK, '--overlay', '{scene}/o.psd'],
        'o.psd: the picture cannot be written: use .png',
    ),
    'picture without a name': (
        [*ASK, '--overlay', '.'],
        '.: the picture cannot be written',
    ),
    'no words to answer with': (
        [*ASK, '--max-new-tokens', '0'],
        'max_new_tokens: 0; wanted a whole number, 1 to 4096',
    ),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_one_line_and_code_2(model, scene, capfd, mistake):
    args, message = MISTAKES[mistake]
    command = ['ask', '--model', model]
    for arg in args:
        if arg.startswith('FRAME '):
            command += frame_args(scene, *arg.split()[1:])
        else:
            command.append(arg.replace('{scene}', str(scene)))
    assert main(command) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('tosa ask: error: ')
    assert message in error


def test_an_odd_scale_warns_in_one_line(model, scene, capfd):
    command = ['ask', *frame_args(scene, scale='5'), '--question', 'x', '--model', model]
    assert main(command) == 0
    warning = capfd.readouterr().err.splitlines()[0]
    assert warning.startswith('tosa: warning: ')
    assert 'is the depth scale right?' in warning


def test_a_real_process_exits_with_2_and_debug_shows_the_traceback(scene):
    command = [
        sys.executable,
        '-m',
        'tosa_ros.cli.main',
        'ask',
        '--question',
        'x',
        '--rgb',
        'absent.png',
    ]
    env = {**os.environ, 'HF_HUB_OFFLINE': '1'}
    plain = subprocess.run(command, capture_output=True, text=True, env=env)
    assert plain.returncode == 2
    assert plain.stdout == ''
    assert 'Traceback' not in plain.stderr
    debug = subprocess.run([*command, '--debug'], capture_output=True, text=True, env=env)
    assert 'Traceback' in debug.stderr
