"""docs/ros.md, config/ and launch/ say what the code does."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from tosa_ros.cli.main import build_parser
from tosa_ros.ros import reference
from tosa_ros.ros.bringup import Graph, launch_arguments
from tosa_ros.ros.cameras import camera_names
from tosa_ros.ros.topics import TOPICS
from tosa_ros.settings import GRAPH, NODES, SETTINGS, node_choices

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip('yaml')


@pytest.mark.parametrize('name', ['ros', 'merging'])
def test_the_documents_are_up_to_date(name):
    page = (ROOT / 'docs' / f'{name}.md').read_text()
    updated = {'ros': reference.ros_page, 'merging': reference.merging_page}[name]
    assert page == updated(page), 'run python -m tosa_ros.ros.reference'
    rows = SETTINGS if name == 'merging' else [r.name for rows in NODES.values() for r in rows]
    for row in rows:
        assert f'| `{row}` |' in page
    topics = [topic for table in TOPICS.values() for topic in table] if name == 'ros' else []
    for topic in topics:
        assert f'| `{topic.name}` |' in page


def test_the_parameter_file_is_up_to_date_and_means_the_defaults():
    text = (ROOT / 'config' / 'vqa.yaml').read_text()
    assert text == reference.yaml_file(), 'run python -m tosa_ros.ros.reference'
    given = yaml.safe_load(text)
    assert set(given) == {f'/**/{node}' for node in NODES}
    for node, rows in NODES.items():
        values = given[f'/**/{node}']['ros__parameters']
        assert list(values) == [row.name for row in rows]
        for row in rows:
            assert row.from_ros(values[row.name]) == row.default
            assert type(values[row.name]) is type(row.to_ros(row.default))


def test_replies_and_points_are_documented():
    from tosa_ros.ros.replies import Reply
    from tosa_ros.ros.token_cloud import _FEATURES, _layout

    page = (ROOT / 'docs' / 'ros.md').read_text()

    def documented(title):
        section = page.split(f'## {title}\n')[1].split('\n## ')[0]
        rows = re.findall(r'^\| (`.*?) \|', section, flags=re.MULTILINE)
        return {name for row in rows for name in re.findall(r'`(\w+)`', row)}

    assert documented('Questions and answers') == {
        field.name for field in dataclasses.fields(Reply)
    }
    layout = _layout('feature', np.dtype('f4'), 1, 1, 1)
    assert documented('Visual tokens') == set(layout.names)
    assert all(f'`{name}`' in page for name in _FEATURES)


def test_launch_arguments_are_documented_and_those_of_tosa_up():
    arguments = {argument.name for argument in launch_arguments()}
    page = (ROOT / 'docs' / 'ros.md').read_text()
    section = page.split('## On a robot\n')[1].split('\n## ')[0]
    rows = re.findall(r'^\| (`.*?) \|', section, flags=re.MULTILINE)
    assert arguments == {name for row in rows for name in re.findall(r'`(\w+)`', row)}
    chosen = {field.name for field in dataclasses.fields(Graph)} - {'chosen'}
    assert chosen == {row.name for row in GRAPH}
    assert arguments == chosen | set(node_choices()) | {'use_rviz', 'single_process'}
    up = next(a for a in build_parser()._actions if a.dest == 'command').choices['up']
    options = {action.dest for action in up._actions}
    # A process that `tosa up` starts always starts itself.
    assert arguments - {'autostart', 'use_rviz'} <= options
    source = (ROOT / 'launch' / 'vqa.launch.py').read_text()
    assert 'for argument in launch_arguments()' in source


def test_cameras_are_documented():
    section = (ROOT / 'docs' / 'ros.md').read_text().split('## Cameras\n')[1].split('\n### ')[0]
    assert re.findall(r'^\| `(\w+)` \|', section, flags=re.MULTILINE) == list(camera_names())


def test_viewers_show_topics_that_exist():
    names = {topic.name for table in TOPICS.values() for topic in table} | {'/diagnostics'}
    rviz = yaml.safe_load((ROOT / 'config' / 'vqa.rviz').read_text())
    displays = rviz['Visualization Manager']['Displays']
    shown = {d['Topic']['Value'] for d in displays if 'Topic' in d}
    assert {'image', 'depth', 'merge_image', 'visual_tokens', 'answer/evidence'} == shown <= names
    layout = json.loads((ROOT / 'config' / 'vqa.foxglove.json').read_text())
    panels = layout['configById']

    def leaves(tree):
        return {tree} if isinstance(tree, str) else leaves(tree['first']) | leaves(tree['second'])

    assert leaves(layout['layout']) == set(panels)
    named = set(re.findall(r'"(/[a-z_/]+)', json.dumps(panels)))
    # As vqa.launch.py has them without arguments.
    launched = dict(Graph.of({a.name: a.default for a in launch_arguments()[:-2]}).remappings())
    colour = launched['image']
    there = {f'/{name.lstrip("/")}' for name in names - launched.keys()}
    assert named <= there | {colour}
    wanted = {colour, '/depth', '/merge_image', '/visual_tokens', '/answer', '/answer/partial'}
    assert wanted <= named


def test_the_fast_dds_profile_has_a_segment_larger_than_a_full_hd_image():
    sizes, space = {}, {'dds': 'http://www.eprosima.com'}
    for name in ('fastdds', 'fastdds_text'):
        tree = ElementTree.parse(ROOT / 'config' / f'{name}.xml')
        [size] = tree.findall('.//dds:segment_size', space)
        sizes[name] = int(size.text)
        assert tree.find('.//dds:participant', space).get('is_default_profile') == 'true'
    assert sizes['fastdds'] > 2 * 1920 * 1080 * 3
    # A camera, two nodes that publish images, one that does not, and a command, in Docker.
    assert 3 * sizes['fastdds'] + 2 * sizes['fastdds_text'] < 48 << 20
