"""`tosa up`, `tosa camera` and `tosa say` as a user runs them: processes, topics, Ctrl-C."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from tosa_ros import messages
from tosa_ros.cli.main import main
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources import write_folder

pytest.importorskip('rclpy')
pytest.importorskip('open3d')

SHOWN = ('image', 'sensor_depth', 'camera_info')
TOSA = [sys.executable, '-m', 'tosa_ros.cli.main']


@pytest.fixture
def tosa(run_process):
    return lambda *words: run_process([*TOSA, *map(str, words)])


@pytest.fixture
def walk(tmp_path):
    """A folder of five frames."""
    camera = Intrinsics(60.0, 60.0, 31.5, 31.5, 64, 64)
    rgb = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    depth = np.full((64, 64), 1.5, np.float32)
    write_folder(tmp_path / 'walk', [Frame(one, depth, intrinsics=camera) for one in rgb])
    return tmp_path / 'walk'


def say(*words):
    done = subprocess.run(
        [*TOSA, 'say', *words], capture_output=True, text=True, timeout=120, env=os.environ
    )
    return done.returncode, done.stdout, done.stderr


def say_until_depth_is_there(*words):
    """At the start, until every topic is discovered, frames go without depth."""
    for _ in range(20):
        code, out, err = say(*words)
        if code or 'metric' in out + err:
            break
    return code, out, err


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as stream:
        return [int(word) for word in stream.read().split()]


def command_of(pid):
    with open(f'/proc/{pid}/cmdline') as stream:
        return stream.read()


def runs(pid):
    try:
        return command_of(pid) != ''  # A zombie has none.
    except FileNotFoundError:
        return False


def test_three_processes_a_camera_and_a_question(bench, tosa, checkpoint):
    """Up, asked, one node killed, asked again, Ctrl-C."""
    camera = tosa('camera', '--size', 64, '--frames', 4)
    up = tosa('up', '--model', checkpoint, '--keep', 0.5)
    code, out, err = say_until_depth_is_there('--json', 'how many red boxes are there?')
    assert code == 0, err + up.output + camera.output
    reply = json.loads(out)
    assert (reply['error'], reply['tokens'], reply['spatial']) == ('', 18, 'metric')
    bench.wait(lambda: 'ready: tosa say' in up.output)

    [victim] = [pid for pid in children(up.popen.pid) if 'vision_node' in command_of(pid)]
    os.kill(victim, signal.SIGKILL)
    bench.wait(lambda: 'vision_node ended with code -9: starting it again' in up.output)
    bench.wait(lambda: up.output.count('[vision_node]: configured') == 2)
    code, out, err = say_until_depth_is_there('what is there?')
    assert code == 0, err + up.output
    assert out.strip()
    assert '1 frame, 18 tokens (spatial: metric)' in err

    nodes = children(up.popen.pid)
    assert len(nodes) == 3
    assert up.end(signal.SIGINT) == 0
    assert camera.end(signal.SIGTERM) == 0
    assert not any(os.path.exists(f'/proc/{pid}') for pid in nodes)
    for process in (up, camera):
        assert 'Traceback' not in process.output


@pytest.mark.parametrize('how', [signal.SIGHUP, signal.SIGKILL])
def test_nodes_end_with_tosa_up_when_its_terminal_is_closed_or_it_is_killed(
    bench, checkpoint, how
):
    terminal, inside = pty.openpty()
    os.set_blocking(terminal, False)
    words = ['up', '--model', str(checkpoint), '--depth-source', 'none']
    up = subprocess.Popen(
        ['env', '--default-signal=HUP', *TOSA, *words], stdout=inside, stderr=inside
    )
    os.close(inside)

    def read():
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 10_000)

    nodes = []
    try:
        for name in ('vision_node', 'qa_node'):
            bench.wait(lambda name=name: bench.state(name).startswith('active'), read)
        nodes = children(up.pid)
        assert len(nodes) == 2
        os.close(terminal)
        up.send_signal(how)
        bench.wait(lambda: not any(map(runs, nodes)))
        up.wait(40)
    finally:
        for pid in filter(runs, [up.pid, *nodes]):
            os.kill(pid, signal.SIGKILL)
        up.wait()


def test_a_hangup_that_is_ignored_stays_ignored():
    code = (
        'import os, signal\n'
        'signal.signal(signal.SIGHUP, signal.{})\n'
        'from tosa_ros.ros.shutdown import Shutdown, exit_at_once_on_signals\n'
        'exit_at_once_on_signals()\n'
        'shutdown = Shutdown()\n'
        'os.kill(os.getpid(), signal.SIGHUP)\n'
        'print(shutdown.requested)\n'
    )
    for before, asked in (('SIG_DFL', 'True\n'), ('SIG_IGN', 'False\n')):
        done = subprocess.run(
            [sys.executable, '-c', code.format(before)], capture_output=True, text=True
        )
        assert done.stdout == asked


def test_one_process_in_a_namespace_and_colour_alone(bench, tosa, checkpoint, walk):
    camera = tosa('camera', walk, '--image-topic', '/front/image', '--rate', 20)
    up = tosa(
        'up', '--single-process', '--namespace', 'robot', '--model', checkpoint,
        '--depth-source', 'none', '--image-topic', '/front/image',
    )  # fmt: skip
    code, out, err = say('--namespace', 'robot', '--json', 'what is there?')
    assert code == 0, err + up.output + camera.output
    reply = json.loads(out)
    assert (reply['spatial'], reply['tokens']) == ('none', 9)
    assert children(up.popen.pid) == []
    assert up.end(signal.SIGTERM) == 0, up.output
    assert camera.end(signal.SIGINT) == 0
    assert 'Traceback' not in up.output + camera.output


@pytest.mark.parametrize('broken', [False, True])
def test_a_model_that_cannot_be_loaded_ends_up_with_one_line(tosa, checkpoint, tmp_path, broken):
    model = tmp_path / 'model'
    if broken:
        shutil.copytree(checkpoint, model)
        os.truncate(model / 'model.safetensors', 1000)
    up = tosa('up', '--model', model, '--depth-source', 'none')
    assert up.popen.wait(120) == 2
    errors = [line for line in up.output.splitlines() if line.startswith('tosa up: error:')]
    assert len(errors) == 1
    assert str(model) in errors[0]
    assert 'Traceback' not in up.output


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['camera', '/nowhere'], '/nowhere: no such folder, bag or video'),
        (['camera', '--world', 'test'], '--world test; wanted a split and a number'),
        (['camera', '--rate', '0'], '--rate 0; wanted frames a second'),
        (['up', '--params-file', '/nowhere.yaml'], '/nowhere.yaml: no such file'),
    ],
)
def test_the_commands_report_errors_in_one_line(capsys, words, said):
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_say_gives_up_without_a_graph():
    code, out, err = say('--timeout', '1', 'anybody?')
    assert (code, out) == (2, '')
    assert err.startswith('tosa say: error: no node receives /question and answers')
    assert err.count('\n') == 1


def test_a_bag_is_shown_again_and_again_at_its_rate(bench, tosa, tmp_path):
    pytest.importorskip('rosbags')
    from tosa_ros.sources.bags import writing as bags
    from tosa_ros.synthetic import episode

    room = episode('test', 1, frames=3, size=64, questions=0)
    bags.frames_to_bag(tmp_path / 'room', room.frames)
    bench.listen(*SHOWN)
    camera = tosa('camera', tmp_path / 'room', '--rate', 20)
    bench.wait(lambda: all(len(bench.received[name]) >= 9 for name in SHOWN))
    frames = [frame.rgb.tobytes() for frame in room.frames]
    order = [frames.index(bytes(image.data)) for image in bench.received['image']]
    # A busy machine may leave one out.
    assert set(order) == {0, 1, 2}
    assert sum(later < earlier for earlier, later in itertools.pairwise(order)) >= 2
    stamps = [messages.stamp_s(image.header.stamp) for image in bench.received['image']]
    assert np.diff(stamps).mean() > 0.8 / 20
    assert camera.end() == 0, camera.output


def test_a_folder_shown_once_ends_by_itself(bench, tosa, walk):
    bench.listen(*SHOWN)
    camera = tosa('camera', walk, '--once', '--rate', 2)
    bench.wait(lambda: not camera.alive)
    assert camera.popen.returncode == 0, camera.output
    bench.wait(lambda: len(bench.received['image']) == 5)
    # Depth and camera_info may have been discovered a frame or two later.
    bench.wait(lambda: bench.received['sensor_depth'] and bench.received['camera_info'])
    stamps = [messages.stamp_ns(image.header.stamp) for image in bench.received['image']]
    # Two a second: the slower of the others may miss the first, never the last.
    assert np.diff(stamps).mean() > 0.3e9
    for name in ('sensor_depth', 'camera_info'):
        assert bench.received[name][-1].header == bench.received['image'][-1].header
    depth, info = bench.received['sensor_depth'][-1], bench.received['camera_info'][-1]
    assert (depth.encoding, depth.width, info.width) == ('16UC1', 64, 64)
