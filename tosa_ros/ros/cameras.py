"""The cameras of config/cameras.yaml: launch arguments by the name of a camera; ROS-free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tosa_ros.errors import MissingDependencyError, RosError, printable
from tosa_ros.files import read_text
from tosa_ros.messages.transports import transport
from tosa_ros.ros.package_files import shared_file
from tosa_ros.settings import GRAPH, node_choices

FILE = 'config/cameras.yaml'
DRIVER = 'driver'
RECORDED = ('image', 'depth', 'camera_info', 'depth_camera_info')
# Of the graph, these are no traits of a camera.
_NO_TRAITS = ('camera', 'params_file', 'namespace', 'autostart', 'log_level')


def camera_names() -> tuple[str, ...]:
    """The cameras that ship with the package."""
    return tuple(_rows(shared_file(FILE)))


def camera_choices(camera: str) -> dict[str, Any]:
    """What a camera's row gives, by the names of `settings.GRAPH` and `settings.node_choices`.

    camera: a name in config/cameras.yaml, or FILE.yaml:NAME of a file like it.

    Raises:
        RosError: there is no such file or camera, or its row gives what is no trait of a camera.
        MissingDependencyError: PyYAML is not installed.
    """
    path, _, name = camera.rpartition(':')
    rows = _rows(Path(path) if path else shared_file(FILE))
    if name not in rows:
        raise RosError(f'camera: {camera}; wanted one of {", ".join(rows)}, or FILE.yaml:NAME')
    known = {row.name: row for row in GRAPH if row.name not in _NO_TRAITS} | node_choices()
    choices = {}
    for key, value in rows[name].items():
        if key == DRIVER:
            continue
        if key not in known:
            wanted = ', '.join((DRIVER, *known))
            raise RosError(f'camera: {camera}: {key} is not known; wanted {wanted}')
        try:
            choices[key] = known[key].parse(_text(value), RosError)
        except RosError as error:
            raise RosError(f'camera: {camera}: {error}') from None
    return choices


def recorded_topics(choices: Mapping[str, Any]) -> dict[str, str]:
    """The topics that choices name, as a bag has them: with their transports; 'none': no depth.

    By the names of `sources.bags.BagTopics`.
    """
    topics = {name: choices.get(f'{name}_topic') for name in RECORDED}
    for name in ('image', 'depth'):
        if topics[name] and choices.get(f'{name}_transport'):
            topics[name] = transport(choices[f'{name}_transport']).topic(topics[name])
    if choices.get('depth_source') in ('monocular', 'none'):
        topics['depth'] = 'none'  # No node would listen to the bag's.
    return {name: topic for name, topic in topics.items() if topic}


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError('pyyaml', 'ros', 'reading a table of cameras') from error
    try:
        rows = yaml.safe_load(read_text(path, RosError))
    except yaml.YAMLError as error:
        raise RosError(f'{path}: not YAML: {printable(str(error))}') from None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise RosError(f'{path}: wanted rows NAME: with settings below, as {FILE} has them')
    return {str(name): row for name, row in rows.items()}


def _text(value: Any) -> str:
    """What YAML holds, as one would write it on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ','.join(map(_text, value)) if isinstance(value, list) else str(value)
