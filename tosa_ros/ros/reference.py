"""Writes the tables of topics and settings into docs/ and config/vqa.yaml.

`python -m tosa_ros.ros.reference` in the source tree, after a table has changed; a test fails
as long as that was forgotten.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

from tosa_ros.files import read_text, write_text
from tosa_ros.ros.bringup import launch_arguments
from tosa_ros.ros.topics import DIAGNOSTICS, QOS, SERVICES, TOPICS
from tosa_ros.settings import NODES, Choice, Setting, node_choices
from tosa_ros.settings.merging import MERGING
from tosa_ros.settings.tables import method_table, parameter_table

ROOT = Path(__file__).parents[2]
YAML_HEAD = """\
# Parameters of the three nodes; `tosa up` and vqa.launch.py load this file by default:
#
#   tosa up --params-file my.yaml
#   ros2 launch tosa_ros vqa.launch.py params_file:=my.yaml
#
# Every parameter is here with its default. What is not set at start only can be changed later:
# `ros2 param set /vision_node keep 0.5`. The QoS of any topic can be overridden too (history,
# depth, reliability, durability), by its full name:
#
#   qos_overrides./camera/camera/color/image_raw.subscription.reliability: best_effort
"""


def ros_page(text: str) -> str:
    """docs/ros.md with its generated tables up to date."""
    text = _put(text, 'launch arguments', argument_table())
    for node, settings in NODES.items():
        text = _put(text, f'{node} topics', topic_tables(node))
        text = _put(text, f'{node} parameters', parameter_table(settings))
    return text


def merging_page(text: str) -> str:
    """docs/merging.md with its table of settings up to date."""
    return _put(text, 'settings', method_table(MERGING))


def _put(text: str, name: str, table: str) -> str:
    head, tail = f'<!-- {name} -->', '<!-- end -->'
    block = f'{head}\n{table}\n{tail}'
    return re.sub(f'{head}.*?{tail}', lambda _: block, text, flags=re.DOTALL)


def yaml_file() -> str:
    """config/vqa.yaml: every parameter with its default and what it means."""
    lines = [YAML_HEAD]
    for node, settings in NODES.items():
        lines += [f'/**/{node}:', '  ros__parameters:']
        for row in settings:
            comment = ' '.join([row.help, *_limits(row)])
            lines += [f'    # {line}' for line in textwrap.wrap(comment, 91)]
            lines.append(f'    {row.name}: {json.dumps(row.to_ros(row.default))}')
        lines.append('')
    return '\n'.join(lines[:-1]) + '\n'


def topic_tables(node: str) -> str:
    """The topics and services of a node, in Markdown."""
    rows = ['| topic | | type | QoS | |', '| --- | --- | --- | --- | --- |']
    for topic in (*TOPICS[node], DIAGNOSTICS):
        way = 'out' if topic.out else 'in'
        quality = QOS[topic.qos][2]
        rows.append(f'| `{topic.name}` | {way} | {topic.type} | {quality} | {topic.description} |')
    if SERVICES[node]:
        rows += ['', '| service | type | |', '| --- | --- | --- |']
        rows += [f'| `{s.name}` | {s.type} | {s.description} |' for s in SERVICES[node]]
    return '\n'.join(rows)


def argument_table() -> str:
    """The arguments of vqa.launch.py, in Markdown."""
    lines = ['| argument | default | |', '| --- | --- | --- |']
    arguments = {argument.name: argument for argument in launch_arguments()}
    nodes = [arguments.pop(name) for name in node_choices()]
    for argument in arguments.values():
        default = argument.default.removeprefix(f'{ROOT}/')
        shown = f'`{default}`' if default else argument.empty
        lines.append(f'| `{argument.name}` | {shown} | {argument.description} |')
    names = ', '.join(f'`{argument.name}`' for argument in nodes)
    see = 'Parameters of the nodes: see [below](#depth_node).'
    lines.append(f'| {names} | {nodes[0].empty} | {see} |')
    return '\n'.join(lines)


def _limits(row: Setting) -> list[str]:
    limits = []
    if row.allowed:
        words = f'one of {row.allowed}' if isinstance(row.kind, Choice) else row.allowed
        limits.append(f'{words[0].upper()}{words[1:]}.')
    if row.default is None:
        limits.append(f'Empty: {row.unset}.')
    if row.read_only:
        limits.append('Set at start only.')
    return limits


def main() -> int:
    for name, updated in (('ros', ros_page), ('merging', merging_page)):
        page = ROOT / 'docs' / f'{name}.md'
        write_text(page, updated(read_text(page)))
    write_text(ROOT / 'config' / 'vqa.yaml', yaml_file())
    return 0


if __name__ == '__main__':
    sys.exit(main())
