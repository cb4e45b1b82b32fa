"""The benchmark of the nodes: what it makes of what it has seen, and messages that really pass."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from benchmarks.measuring import put_into
from benchmarks.ros.__main__ import alone, main
from benchmarks.ros.listening import WHAT, percentiles
from benchmarks.ros.relay import Relay
from benchmarks.ros.soak import soak_rows

ROOT = Path(__file__).parents[2]


def minutes(mib, count=60):
    """What a soak has seen, every 12 s: memory by a function of the time."""
    return [
        {'s': 12.0 * n, 'tokens_hz': 30.0, 'answer_ms': 9.0, 'mib': {'a_node': mib(12.0 * n)}}
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ('mib', 'flat', 'change'),
    [
        (lambda s: 400.0 if s > 100 else 300.0, 'yes', 0.0),  # warming up does not count
        (lambda s: 400 + 0.01 * s, 'no', 1.49),
        (lambda s: 400 + 0.001 * s, 'yes', 0.15),
        (lambda s: 400 - 0.01 * s, 'no', -1.5),
    ],
)
def test_memory_is_flat_where_its_line_is(mib, flat, change):
    memory, tokens, answers = soak_rows(minutes(mib))
    assert memory['what'] == 'a_node, MiB'
    assert (memory['flat'], memory['change %']) == (flat, pytest.approx(change, abs=0.02))
    assert (tokens['begin'], tokens['end']) == (30.0, 30.0)
    assert answers['what'] == 'question to last word, ms'
    assert 'flat' not in tokens


def test_one_reading_is_a_row_without_a_line():
    assert 'flat' not in soak_rows(minutes(lambda s: 400.0, 1))[0]


def test_what_ros_adds_is_the_difference_to_direct_calls():
    assert percentiles([0.001 * n for n in range(101)]) == pytest.approx((50, 95))
    row = {'side': 'three nodes', 'what': WHAT['tokens'], 'p50 ms': '20.5', 'p95 ms': '31.0'}
    assert alone([row]) == {}
    row |= {'direct p50': '19.0', 'direct p95': '27.0'}
    assert alone([row]) == {'ROS adds, three nodes': '1.5 ms p50, 4.0 ms p95'}


def test_tokens_wait_for_the_depth_of_their_image():
    class Heard(Relay):
        def __init__(self):
            self._came, self.published = {}, []

        def _publish(self, message):
            self.published.append(message.header.stamp.sec)

    from sensor_msgs.msg import Image

    def stamped(second):
        message = Image()
        message.header.stamp.sec = second
        return message

    relay = Heard()
    for name, second in (('image', 1), ('image', 2), ('depth', 2), ('depth', 1), ('image', 3)):
        relay._pair(name, stamped(second))
    assert relay.published == [2]


def test_messages_pass_and_the_table_goes_where_it_is_asked_to(tmp_path):
    """Real processes, without a model: camera, two that relay, one that listens."""
    document, out = tmp_path / 'page.md', tmp_path / 'rows.json'
    document.write_text('<!-- ros-64x48 --><!-- /ros-64x48 -->\n')
    words = ['--size', '64x48', '--rate', '20', '--seconds', '4', '--only', 'ros']
    words += ['--doc', str(document), '--out', str(out)]
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.ros', *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())['rows']
    made, shown = (int(count) for count in row['frames'].split(' of '))
    assert 40 < made <= shown
    assert 0 < float(row['p50 ms']) <= float(row['p95 ms']) < 1000
    assert row['what'] in document.read_text()


@pytest.mark.parametrize('words', [['--size', '640'], ['--rate', '0'], ['--soak', '-1']])
def test_a_bad_option_is_one_line(words, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(words)
    assert words[1] in capsys.readouterr().err


def test_the_page_has_a_place_for_every_table(tmp_path):
    page = shutil.copy(ROOT / 'docs/ros.md', tmp_path / 'ros.md')
    commands = re.findall(r'^    python -m benchmarks\.ros (.*)$', page.read_text(), re.M)
    assert len(commands) == 3
    for command in commands:
        size = re.search(r'--size (\w+)', command)[1]
        put_into(page, 'ros-soak' if '--soak' in command else f'ros-{size}', 'a table')
