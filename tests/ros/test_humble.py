"""The nodes where rclpy lacks what Humble's lacks: real processes, real DDS."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

import humble

ROOT = Path(__file__).parents[2]
HUMBLE = [sys.executable, str(ROOT / 'tests' / 'humble.py')]


def test_one_module_alone_knows_what_humble_lacks():
    words = [name for names in humble.LACKS.values() for name in names]
    words += [*humble.LACKING_MODULES, r'EventCallbacks\(']
    pattern = re.compile('|'.join(words))
    sources = (ROOT / 'tosa_ros').rglob('*.py')
    found = {path.name for path in sources if pattern.search(path.read_text())}
    assert found <= {'distributions.py', 'inputs.py'}  # inputs.py takes its events from there.


@pytest.fixture
def nodes(bench, run_process, checkpoint):
    """All three nodes, active."""
    given = {
        'vision_node': (f'model:={checkpoint}', 'keep:=0.5'),
        'qa_node': (f'model:={checkpoint}', 'max_new_tokens:=4'),
        'depth_node': (),
    }
    started = []
    for name, values in given.items():
        words = [word for value in values for word in ('-p', value)]
        started.append(run_process([*HUMBLE, name, '--ros-args', *words]))
    for name in given:
        bench.wait(lambda name=name: bench.state(name).startswith('active'))
    yield started
    assert [process.end() for process in started] == [0, 0, 0]
    assert not any('Traceback' in process.output for process in started)


def set_parameter(bench, node, value):
    """Sets keep as `ros2 param set` does; the reason for a refusal, or empty."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request()
    request.parameters = [Parameter('keep', value=value).to_parameter_msg()]
    return bench.call(SetParameters, f'{node}/set_parameters', request).results[0].reason


def known_settings(bench):
    """What a client of the graph reads of its nodes."""
    from tosa_ros.ros.graph_status import GraphStatus

    node = bench.rclpy.create_node('reader')
    bench.executor.add_node(node)
    status = GraphStatus(node)
    bench.wait(status.active)
    settings = status.settings(bench.executor)
    bench.executor.remove_node(node)
    node.destroy_node()
    return settings


def test_the_graph_rests_wakes_answers_and_takes_parameters(bench, nodes):
    def see():
        bench.see(depth_topic='sensor_depth')

    def answered():
        one = bench.reply('what is there?', see)
        return one if one['spatial'] == 'metric' else None

    reply = bench.wait(answered)
    assert (reply['error'], reply['tokens']) == ('', 18)
    # A whole number for a double, as `ros2 param set /vision_node keep 1` gives it.
    assert set_parameter(bench, 'vision_node', 1) == ''
    bench.wait(lambda: bench.reply('and now?', see)['tokens'] == 36)
    assert 'keep: 2; wanted' in set_parameter(bench, 'vision_node', 2)
    bench.wait(lambda: known_settings(bench)['vision_node']['keep'] == 1)

    bench.stop_listening('answer', 'answer/partial')
    for name in ('depth_node', 'vision_node', 'qa_node'):
        idle = 'active' if name == 'qa_node' else 'active, idle: no subscribers'
        bench.wait(lambda name=name, idle=idle: bench.state(name) == idle, see)
    say = subprocess.Popen(
        [*HUMBLE, 'tosa', 'say', 'what is there?'], stdout=subprocess.PIPE, text=True
    )
    bench.wait(lambda: say.poll() is not None, see)
    assert say.returncode == 0
    assert say.stdout.read().strip()
