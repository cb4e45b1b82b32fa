"""How the graph is started: arguments, parameter files with namespaces, transport, processes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tosa_ros.errors import RosError
from tosa_ros.ros.bringup import Graph, launch_arguments, up_words
from tosa_ros.ros.fastdds import profile_environment, remove_dead_segments
from tosa_ros.ros.package_files import shared_file

PROFILE = 'FASTDDS_DEFAULT_PROFILES_FILE'
RUN = [sys.executable, '-m', 'tosa_ros.ros.run']


def test_unset_options_leave_the_parameter_file_as_it_is():
    graph = Graph()
    assert graph.nodes == ('depth_node', 'vision_node', 'qa_node')
    assert graph.remappings() == []
    assert [graph.parameters(node) for node in graph.nodes] == [{}, {}, {}]
    assert graph.arguments()[:3] == [
        '--ros-args',
        '--params-file',
        str(shared_file('config/vqa.yaml')),
    ]


def test_choices_reach_the_nodes_that_they_concern():
    chosen = {'model': '7', 'device': 'cuda', 'keep': 0.5, 'merge_at': (2, 6)}
    graph = Graph(depth_source='none', image_topic='/cam/image', chosen=chosen)
    assert graph.nodes == ('vision_node', 'qa_node')
    vision, qa = graph.parameters('vision_node'), graph.parameters('qa_node')
    assert (vision['model'], vision['keep'], vision['use_depth']) == ('7', 0.5, False)
    assert vision['merge_at'] == '2,6'
    assert qa == {'model': '7', 'device': 'cuda'}
    assert 'image:=/cam/image' in graph.command('vision_node')
    assert 'model:="7"' in graph.command('qa_node')
    assert 'merge_at:="2,6"' in graph.command('vision_node')
    monocular = Graph(depth_source='monocular', autostart=False, use_sim_time=True)
    chosen = {'use_sim_time': True, 'autostart': False}
    assert monocular.parameters('depth_node') == {'source': 'monocular', **chosen}
    assert monocular.parameters('vision_node') == {'use_depth': True, **chosen}


@pytest.mark.parametrize(
    ('choice', 'said'),
    [
        (
            {'depth_source': 'lidar'},
            "depth_source: 'lidar'; wanted one of sensor, ",
        ),
        ({'params_file': '/nowhere.yaml'}, 'params_file: /nowhere.yaml: no such file'),
        ({'chosen': {'keep': 2}}, 'keep: 2; wanted a fraction of tokens to keep'),
        ({'chosen': {'rate': 2}}, 'rate: no such setting; wanted one of model, device'),
    ],
)
def test_choices_that_cannot_be_are_refused(choice, said):
    with pytest.raises(RosError, match=said):
        Graph(**choice)


def test_launch_arguments_are_text_and_empty_ones_are_left_out():
    given = {argument.name: argument.default for argument in launch_arguments()}
    assert [given.pop(name) for name in ('use_rviz', 'single_process')] == ['false', 'false']
    # Nav2 and others write True.
    graph = Graph.of({**given, 'keep': '0.5', 'alpha': '0.1,0.9', 'use_sim_time': 'True'})
    assert graph.chosen == {'keep': 0.5, 'alpha': (0.1, 0.9)}
    assert (graph.use_sim_time, graph.autostart, graph.log_level) == (True, None, 'info')
    assert graph.image_topic == '/camera/camera/color/image_raw'
    with pytest.raises(RosError, match="keep: 'half'; wanted a fraction of tokens"):
        Graph.of({'keep': 'half'})


def test_launch_arguments_as_words_of_tosa_up():
    from tosa_ros.cli.main import build_parser

    given = {'camera': 'zed', 'extrinsic': '-0.1,0,0,0,0,0,1', 'register': 'True', 'keep': '0.5',
             'rectified': 'false', 'model': '', 'autostart': 'true', 'frames': '4'}  # fmt: skip
    words = up_words(given)
    args = build_parser().parse_args(['up', '--single-process', *words])
    assert (args.camera, args.extrinsic, args.register) == ('zed', '-0.1,0,0,0,0,0,1', True)
    assert (args.rectified, args.keep, args.frames, args.model) == (False, 0.5, 4, None)
    with pytest.raises(RosError, match='autostart: false; single_process starts its nodes'):
        up_words({'autostart': 'False'})


@pytest.mark.parametrize('namespace', ['', 'robot', 'fleet/robot'])
def test_one_parameter_file_serves_every_namespace(ros, tmp_path, namespace):
    from rclpy.context import Context

    from tosa_ros.ros.vision_node import VisionNode

    file = tmp_path / 'mine.yaml'
    file.write_text(
        '/**/vision_node:\n  ros__parameters:\n    keep: 1\n    alpha: uniform\n'
        '    autostart: false\n    use_depth: false\n    use_sim_time: true\n'
        '/**/qa_node:\n  ros__parameters:\n    frames: 8\n'
    )
    graph = Graph(params_file=str(file), namespace=namespace, chosen={'model': '7'})
    context = Context()
    words = graph.command('vision_node')
    ros.init(args=words[words.index('--ros-args') :], context=context)
    node = VisionNode(context=context)
    assert node.get_namespace() == f'/{namespace}'
    assert [node.value(name) for name in ('keep', 'alpha', 'model')] == [1.0, 'uniform', '7']
    chosen = [node.value(name) for name in ('autostart', 'use_depth', 'use_sim_time')]
    assert chosen == [False, False, True]
    node.destroy_node()
    ros.shutdown(context=context)


def test_the_profile_is_given_unless_one_is_set_or_another_middleware_runs():
    ours = str(shared_file('config/fastdds.xml'))
    small = {PROFILE: str(shared_file('config/fastdds_text.xml'))}
    assert profile_environment('vision_node', {}) == {PROFILE: ours}
    assert profile_environment('vision_node', {'ROS_DISTRO': 'humble'}) == {
        'FASTRTPS_DEFAULT_PROFILES_FILE': ours
    }
    # From a process that needs no more to one that does, and back.
    assert profile_environment('vision_node', small) == {PROFILE: ours}
    assert profile_environment('qa_node', {PROFILE: ours}) == small
    assert profile_environment('vision_node', {PROFILE: '/mine.xml'}) == {}
    assert profile_environment('vision_node', {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'}) == {}


SEGMENTS = {
    'dead': 'fastdds_0123456789abcdef',
    'live': 'fastdds_00000000000000aa',
    'without lock': 'fastrtps_00000000000000bb',
    'starting': 'fastdds_00000000000000cc',
    'port': 'fastdds_port7411',
}


def test_only_segments_of_dead_processes_are_removed(tmp_path):
    for state, name in SEGMENTS.items():
        if state != 'starting':  # It has locked the name, and makes the segment next.
            (tmp_path / name).write_bytes(b'segment')
        if state != 'without lock':  # As a reader leaves it that found the process dead.
            (tmp_path / f'{name}_el').write_bytes(b'')
    (tmp_path / 'other').write_bytes(b'')
    hold = (
        'import fcntl, sys\n'
        'lock = open(sys.argv[1])\n'
        'fcntl.flock(lock, fcntl.LOCK_EX)\n'
        "print('held', flush=True)\n"
        'sys.stdin.read()\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', hold, str(tmp_path / f'{SEGMENTS["live"]}_el')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'held\n'
    assert remove_dead_segments(tmp_path) == 2
    # A port's name comes again: its files may be the next process's by now, locked or not.
    kept = {SEGMENTS['port'], f'{SEGMENTS["port"]}_el', f'{SEGMENTS["starting"]}_el', 'other'}
    left = {file.name for file in tmp_path.iterdir()}
    assert left == kept | {SEGMENTS['live'], f'{SEGMENTS["live"]}_el'}
    process.communicate()
    assert remove_dead_segments(tmp_path) == 1
    assert {file.name for file in tmp_path.iterdir()} == kept


def test_a_parameter_that_cannot_be_ends_the_node_with_one_line():
    done = subprocess.run(
        [*RUN, 'depth_node', '--ros-args', '-p', 'max_rate:=-1.0'],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == ('tosa_ros: parameter max_rate: -1.0; wanted a number, 0 to 1000 Hz\n')


# While it imports numpy, ROS and torch, and while it loads the model.
@pytest.mark.parametrize('moment', ['numpy.linalg', 'rclpy.node', 'torch.nn', 'model is empty'])
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_loading_ends_it_quietly(how, moment):
    process = subprocess.Popen(
        [sys.executable, '-X', 'importtime', *RUN[1:], 'vision_node'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if moment in line:
            break
    process.send_signal(how)
    lines += process.stdout.readlines()
    assert process.wait(60) == 0
    assert any(moment in line for line in lines)
    assert not any('Traceback' in line for line in lines)
