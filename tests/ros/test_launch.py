"""The launch files, where launch_ros is installed and this package built for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / 'launch'

RUN = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

file, *arguments = sys.argv[1:]
service = LaunchService()
service.include_launch_description(
    IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file),
        launch_arguments=[tuple(argument.split(':=', 1)) for argument in arguments],
    )
)
sys.exit(service.run())
"""


@pytest.mark.parametrize('name', ['vqa.launch.py', 'replay.launch.py'])
def test_launch_files_compile(name):
    compile((LAUNCH / name).read_text(), name, 'exec')


@pytest.fixture
def launched(run_process):
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS distribution')
    packages = pytest.importorskip('ament_index_python.packages')
    try:
        packages.get_package_prefix('tosa_ros')
    except packages.PackageNotFoundError:
        pytest.skip('tosa_ros is not built with colcon, or its workspace is not sourced')
    return lambda name, *words: run_process([sys.executable, '-c', RUN, LAUNCH / name, *words])


def test_the_graph_comes_up_and_answers(bench, launched, checkpoint):
    launch = launched('vqa.launch.py', f'model:={checkpoint}', 'keep:=0.5', 'image_topic:=image',
                      'depth_topic:=sensor_depth', 'camera_info_topic:=camera_info')  # fmt: skip

    def see():
        bench.see(depth_topic='sensor_depth')

    bench.wait(lambda: bench.state('vision_node') == 'active', see)
    bench.wait(lambda: bench.state('qa_node') == 'active', see)
    reply = bench.wait(
        lambda: (one := bench.reply('what is there?', see))['spatial'] == 'metric' and one
    )
    assert (reply['error'], reply['tokens']) == ('', 18)
    assert launch.end() == 0, launch.output


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('depth_source:=lidar', "depth_source: 'lidar'; wanted one of"),
        ('keep:=2', "keep: '2'; wanted"),
        ('log_level:=foo', "log_level: 'foo'; wanted one of"),
        ('camera:=kinect', 'camera: kinect; wanted one of realsense'),
        ('use_sim_time:=maybe', "use_sim_time: 'maybe'; wanted true or false"),
        ('use_rviz:=true', 'use_rviz: rviz2 is not installed'),
    ],
)
def test_what_cannot_be_is_refused_once_and_leaves_nothing_behind(launched, word, said):
    launch = launched('vqa.launch.py', word)
    assert launch.popen.wait(60) == 1
    assert launch.output.count(said) == 1
    assert 'process started' not in launch.output


def test_a_parameter_file_that_cannot_be_ends_the_launch(launched, tmp_path):
    (tmp_path / 'mine.yaml').write_text('/**/vision_node:\n  ros__parameters:\n    keep: 2\n')
    launch = launched('vqa.launch.py', f'params_file:={tmp_path / "mine.yaml"}')
    assert launch.popen.wait(60) == 1
    assert launch.output.count('parameter keep: 2; wanted') == 1
    assert 'vision_node cannot start with its parameters' in launch.output


def test_true_and_false_are_written_as_nav2_does(bench, launched, checkpoint):
    launch = launched('vqa.launch.py', f'model:={checkpoint}', 'use_sim_time:=True',
                      'autostart:=False', 'camera:=usb')  # fmt: skip
    bench.wait(lambda: bench.state('vision_node') == 'unconfigured')
    bench.wait(lambda: bench.state('qa_node') == 'unconfigured')
    assert launch.end() == 0, launch.output


@pytest.mark.parametrize(('source', 'spatial'), [('sensor', 'metric'), ('none', 'none')])
def test_a_bag_is_played_to_the_graph_and_its_questions_are_scored(
    launched, checkpoint, tmp_path, source, spatial
):
    pytest.importorskip('rosbags')
    pytest.importorskip('open3d')
    from tosa_ros.sources.bags import writing as bags
    from tosa_ros.synthetic import episode

    bags.frames_to_bag(
        tmp_path / 'walk', episode('test', 1, frames=8, size=64, questions=0).frames
    )
    questions = [{'question_id': 'end', 'question': 'what was there?', 'answer': 'a box'}]
    (tmp_path / 'questions.json').write_text(json.dumps(questions))
    launch = launched(
        'replay.launch.py',
        f'bag:={tmp_path / "walk"}',
        f'questions:={tmp_path / "questions.json"}',
        f'out:={tmp_path / "out"}',
        f'model:={checkpoint}',
        f'depth_source:={source}',
    )
    assert launch.popen.wait(120) == 0, launch.output
    assert 'Traceback' not in launch.output
    [answer] = (tmp_path / 'out' / 'live' / 'answers.jsonl').read_text().splitlines()
    answer = json.loads(answer)
    assert (answer['question_id'], answer['spatial']) == ('end', spatial)
    assert json.loads((tmp_path / 'out' / 'scores.json').read_text())['scored'] == 1


def test_a_bag_that_cannot_be_played_is_no_success(launched, tmp_path):
    launch = launched('replay.launch.py', f'bag:={tmp_path / "none"}', 'questions:=q.json')
    assert launch.popen.wait(60) == 1
    assert 'none: no such bag' in launch.output
    assert 'process started' not in launch.output
