"""The graph of three nodes and how it is started; for `tosa up` and the launch files.

What a user chooses (topics, model, ...) becomes each node's parameters and remappings here, so
that both ways to start give the same graph.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tosa_ros.errors import RosError
from tosa_ros.messages.topic_names import camera_infos_beside
from tosa_ros.ros.cameras import camera_choices
from tosa_ros.ros.fastdds import profile_environment, remove_dead_segments
from tosa_ros.ros.package_files import shared_file
from tosa_ros.ros.session import ros_arguments
from tosa_ros.ros.shutdown import STARTED_BY
from tosa_ros.settings import (
    GRAPH,
    Flag,
    Setting,
    node_choices,
    node_settings,
)
from tosa_ros.settings.graph import FROM_FILE

CAMERA = 'realsense'  # of the launch files
RESPAWN_S = 1.0
END_S = 10.0
USE_RVIZ = Setting('use_rviz', False, Flag(), 'Also start RViz, with config/vqa.rviz.')
SINGLE_PROCESS = Setting(
    'single_process',
    False,
    Flag(),
    'All nodes in one process, which passes tokens without messages.',
)
BAD_PARAMETER = 2  # The exit code of a node that was given a parameter it cannot take.


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What a user chooses of the graph; None leaves it to the parameter file.

    The fields but the last are the rows of `settings.GRAPH`.
    chosen: settings of the nodes (`settings.node_choices`) by name.
    """

    camera: str | None = None
    image_topic: str | None = None
    depth_topic: str | None = None
    camera_info_topic: str | None = None
    depth_camera_info_topic: str | None = None
    depth_source: str | None = None
    params_file: str | None = None
    namespace: str = ''
    use_sim_time: bool | None = None
    autostart: bool | None = None
    log_level: str = 'info'
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in GRAPH:
            row.checked(getattr(self, row.name), RosError)
        known = node_choices()
        for name, value in self.chosen.items():
            if name not in known:
                raise RosError(f'{name}: no such setting; wanted one of {", ".join(known)}')
            known[name].checked(value, RosError)
        if self.params_file and not Path(self.params_file).is_file():
            raise RosError(f'params_file: {self.params_file}: no such file')

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Graph:
        """The graph of what was given of `settings.GRAPH` and `settings.node_choices`, by name.

        None and text that stands for None mean that a choice is left out; other text is read.
        What is left out is as the camera has it, where one is named.

        Raises:
            RosError: a value that is not allowed.
        """
        rows = {row.name: row for row in GRAPH}
        choices = {**node_choices(), **rows}
        read = {
            name: choices[name].parse(value, RosError) if isinstance(value, str) else value
            for name, value in given.items()
            if value not in (None, '')
        }
        if 'camera' in read:
            read = {**camera_choices(read['camera']), **read}
        own = {name: read.pop(name) for name in list(read) if name in rows}
        return cls(**own, chosen=read)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes to start."""
        depth = () if self.depth_source == 'none' else ('depth_node',)
        return (*depth, 'vision_node', 'qa_node')

    @property
    def file(self) -> str:
        """The parameter file of all nodes."""
        return self.params_file or str(shared_file('config/vqa.yaml'))

    def remappings(self) -> list[tuple[str, str]]:
        """Topic names to the user's; the same for every node."""
        given = {
            'image': self.image_topic,
            'sensor_depth': self.depth_topic,
            'camera_info': self.camera_info_topic,
            'depth_camera_info': self.depth_camera_info_topic
            or (self.depth_topic and camera_infos_beside(self.depth_topic)[0]),
        }
        return [(name, topic) for name, topic in given.items() if topic]

    def parameters(self, node: str) -> dict[str, Any]:
        """A node's parameters beside those of the file."""
        given: dict[str, Any] = {'use_sim_time': self.use_sim_time, 'autostart': self.autostart}
        if node == 'depth_node':
            given['source'] = self.depth_source
        if node == 'vision_node':
            given['use_depth'] = self.depth_source and self.depth_source != 'none'
        for row in node_settings(node):
            if row.name in self.chosen:
                given[row.name] = row.to_ros(self.chosen[row.name])
        return {name: value for name, value in given.items() if value is not None}

    def arguments(self) -> list[str]:
        """ROS arguments that hold for all nodes of a process."""
        more = '--params-file', self.file, '--log-level', self.log_level
        return ros_arguments(self.namespace, dict(self.remappings()), *more)

    def command(self, node: str) -> list[str]:
        """The command line of a node in a process of its own."""
        words = [sys.executable, '-m', 'tosa_ros.ros.run', node, *self.arguments()]
        for name, value in self.parameters(node).items():
            # JSON is YAML: a model that is called 7 stays a string.
            words += ['-p', f'{name}:={json.dumps(value)}']
        return words


class Argument(NamedTuple):
    """An argument of vqa.launch.py, all as text. empty: what holds where it is empty."""

    name: str
    default: str
    description: str
    empty: str


def launch_arguments() -> list[Argument]:
    """Every argument of vqa.launch.py; it expects a RealSense, where `tosa up` has no camera."""
    defaults = {'camera': CAMERA, 'params_file': str(shared_file('config/vqa.yaml'))}
    arguments = [
        Argument(row.name, defaults.get(row.name, ''), row.help, _unset(row)) for row in GRAPH
    ]
    arguments += [Argument(row.name, '', row.help, FROM_FILE) for row in node_choices().values()]
    flags = [Argument(row.name, 'false', row.help, 'false') for row in (SINGLE_PROCESS, USE_RVIZ)]
    return [*arguments, *flags]


def up_words(given: Mapping[str, str]) -> list[str]:
    """Arguments of the launch file, as text, as words for `tosa up`.

    Raises:
        RosError: autostart is off, which nodes in one process do not have.
    """
    rows, words = {row.name: row for row in (*GRAPH, *node_choices().values())}, []
    for name, text in given.items():
        value = rows[name].parse(text, RosError) if text else None
        if name == 'autostart':
            if value is False:
                raise RosError('autostart: false; single_process starts its nodes by itself')
        elif isinstance(value, bool):
            words.append(rows[name].option if value else f'--no-{rows[name].option[2:]}')
        elif value is not None:
            words.append(f'{rows[name].option}={text}')
    return words


def _unset(row: Setting) -> str:
    return "the camera's" if row.name.endswith('_topic') else row.unset


class Processes:
    """The nodes of a graph, each in a process of its own; one that dies is started again."""

    def __init__(self, graph: Graph, say: Callable[[str], None]) -> None:
        self._graph, self._say = graph, say
        self._running: dict[str, subprocess.Popen] = {}
        self._died: dict[str, float] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Node name to the id of its process."""
        return {node: process.pid for node, process in self._running.items()}

    def start(self) -> None:
        """Starts all nodes."""
        for node in self._graph.nodes:
            self._start(node)

    def watch(self) -> None:
        """Restarts nodes that died; call it regularly.

        Raises:
            RosError: a node ended because of a parameter, which a restart would not fix.
        """
        for node, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            if code == BAD_PARAMETER:
                raise RosError(f'{node} cannot start with its parameters (see above)')
            if node not in self._died:
                self._say(f'{node} ended with code {code}: starting it again')
                self._died[node] = time.monotonic()
            elif time.monotonic() - self._died[node] > RESPAWN_S:
                del self._died[node]
                remove_dead_segments()
                self._start(node)

    def end(self) -> None:
        """Ends all nodes: by a signal first, by force in the end."""
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            alive = [process for process in self._running.values() if process.poll() is None]
            for process in alive:
                process.send_signal(how)
            until = time.monotonic() + END_S
            for process in alive:
                try:
                    process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue
        remove_dead_segments()

    def _start(self, node: str) -> None:
        given = {**profile_environment(node), **quiet_threads(), STARTED_BY: str(os.getpid())}
        # In a session of its own: Ctrl-C reaches a node once, from here.
        self._running[node] = subprocess.Popen(
            self._graph.command(node),
            env={**os.environ, **given},
            start_new_session=True,
        )


def quiet_threads() -> dict[str, str]:
    """Waiting threads that spin slow the other processes down tenfold."""
    return {} if 'OMP_WAIT_POLICY' in os.environ else {'OMP_WAIT_POLICY': 'passive'}
