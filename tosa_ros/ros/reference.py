"""Writes what is known of topics and parameters into docs/ros.md and config/vqa.yaml.

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
from tosa_ros.ros.parameters import PARAMETERS, Parameter
from tosa_ros.ros.topics import DIAGNOSTICS, QOS, SERVICES, TOPICS

ROOT = Path(__file__).parents[2]
YAML_HEAD = """\
# Parameters of the three nodes; `tosa up` and vqa.launch.py load this file unless told otherwise:
#
#   tosa up --params-file my.yaml
#   ros2 launch tosa_ros vqa.launch.py params_file:=my.yaml
#
# Every parameter is here with its default. What is not set at start only can be changed later:
# `ros2 param set /vision_node keep 0.5`. The QoS of any topic can be overridden too:
#
#   qos_overrides./camera/camera/color/image_raw.subscription.reliability: best_effort
"""


def document(text: str) -> str:
    """docs/ros.md with its generated tables up to date."""
    for node in PARAMETERS:
        for kind, table in (('topics', topic_tables(node)), ('parameters', parameter_table(node))):
            head, tail = f'<!-- {node} {kind} -->', '<!-- end -->'
            text = re.sub(
                f'{head}.*?{tail}',
                lambda _, block=f'{head}\n{table}\n{tail}': block,
                text,
                flags=re.DOTALL,
            )
    return text


def yaml_file() -> str:
    """config/vqa.yaml: every parameter with its default and what it means."""
    lines = [YAML_HEAD]
    for node, parameters in PARAMETERS.items():
        lines += [f'/**/{node}:', '  ros__parameters:']
        for parameter in parameters:
            comment = ' '.join([parameter.description, *_limits(parameter)])
            lines += [f'    # {line}' for line in textwrap.wrap(comment, 91)]
            lines.append(f'    {parameter.name}: {json.dumps(parameter.default)}')
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


def parameter_table(node: str) -> str:
    """The parameters of a node, in Markdown."""
    rows = ['| parameter | type | default | range | |', '| --- | --- | --- | --- | --- |']
    for p in PARAMETERS[node]:
        allowed = p.allowed.replace("'", '`')
        fixed = ' Set at start only.' if p.read_only else ''
        default = json.dumps(p.default)
        rows.append(
            f'| `{p.name}` | {p.type_name} | `{default}` | {allowed} | {p.description}{fixed} |'
        )
    return '\n'.join(rows)


def _limits(parameter: Parameter) -> list[str]:
    limits = []
    if parameter.choices:
        limits.append(f'One of {", ".join(parameter.choices)}.')
    elif parameter.low is not None:
        limits.append(f'{parameter.allowed}.')
    if parameter.read_only:
        limits.append('Set at start only.')
    return limits


def main() -> int:
    page = ROOT / 'docs' / 'ros.md'
    write_text(page, document(read_text(page)))
    write_text(ROOT / 'config' / 'vqa.yaml', yaml_file())
    return 0


if __name__ == '__main__':
    sys.exit(main())
