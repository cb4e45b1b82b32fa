"""The table of cameras: what each needs in words, and one that is really measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from benchmarks.ros.cameras import _depth, _needs, known, needed
from benchmarks.ros.drivers import LAYOUTS

ROOT = Path(__file__).parents[2]


def test_what_a_camera_needs_is_what_its_row_sets():
    assert _needs({'camera': 'realsense'}) == 'nothing'
    assert _needs({'camera': 'zed'}) == '`rectified: true`, `sync_slop_s: 0.01`'
    assert _needs({'camera': 'usb'}) == '`depth_source: none`'
    given = _needs(needed('orbbec', LAYOUTS['orbbec']))
    assert given.startswith('`register: true`')
    assert _depth(LAYOUTS['usb']) == 'none'
    assert _depth(LAYOUTS['orbbec']) == '16UC1 848x480, 1 ms after, own frame'


def test_every_camera_is_in_the_documents_table():
    rows = known((ROOT / 'docs' / 'ros.md').read_text())
    assert [*rows] == [*LAYOUTS]
    for name, row in rows.items():
        assert row['needs'].startswith(_needs({'camera': name}))
        assert row['depth'] == _depth(LAYOUTS[name])


def test_a_camera_is_measured(tmp_path):
    document = tmp_path / 'page.md'
    document.write_text('<!-- ros-cameras -->\n<!-- /ros-cameras -->\n')
    words = ['--only', 'usb', '--share', '8', '--seconds', '2', '--doc', str(document)]
    # In a process of its own, with a domain of its own.
    command = [sys.executable, '-m', 'benchmarks.ros.cameras', *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    row = document.read_text().splitlines()[-2].split('|')
    assert row[1:5] == [' usb ', ' yuv422_yuy2 160x90, 30 Hz ', ' none ', ' `depth_source: none` ']
    made, shown = map(int, row[5].split(' of '))
    assert 0 < made <= shown
    assert re.fullmatch(r' none \d+ ', row[6])
