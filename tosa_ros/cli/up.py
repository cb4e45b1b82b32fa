"""`tosa up`: the three nodes, without launch."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING, Any, NoReturn

from tosa_ros.errors import RosError
from tosa_ros.ros.bringup import DEPTH_SOURCES, Graph, Processes, quiet_threads
from tosa_ros.ros.session import session
from tosa_ros.ros.shutdown import Shutdown, exit_now

if TYPE_CHECKING:
    from tosa_ros.ros.graph_status import StatusWatcher

LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
CHOICES = (
    'params_file', 'namespace', 'image_topic', 'depth_topic', 'camera_info_topic',
    'depth_source', 'model', 'device', 'keep', 'use_sim_time', 'log_level',
)  # fmt: skip


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('up', help='start the ROS 2 nodes, until Ctrl-C')
    parser.add_argument('--params-file', default='', metavar='YAML', help='(config/vqa.yaml)')
    parser.add_argument('--namespace', default='', metavar='NS')
    parser.add_argument('--image-topic', metavar='TOPIC', help='colour (image)')
    parser.add_argument('--depth-topic', metavar='TOPIC', help="the sensor's depth (sensor_depth)")
    parser.add_argument('--camera-info-topic', metavar='TOPIC', help='(camera_info)')
    parser.add_argument('--depth-source', choices=DEPTH_SOURCES, help="(the file's)")
    parser.add_argument('--model', metavar='P', help='checkpoint folder or hub id')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...')
    parser.add_argument('--keep', type=float, help='fraction of the image tokens kept')
    parser.add_argument(
        '--use-sim-time', action='store_true', default=None, help='time comes from /clock'
    )
    parser.add_argument('--log-level', choices=LOG_LEVELS, default='info')
    parser.add_argument(
        '--single-process',
        action='store_true',
        help='all nodes in this process, tokens handed over without messages',
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    graph = Graph(**{name: getattr(args, name) for name in CHOICES})
    os.environ.update(quiet_threads())  # for this process too, before torch reads them
    with session('tosa up', graph.arguments()):
        return _one_process(graph) if args.single_process else _processes(graph)


def _processes(graph: Graph) -> int:
    """Each node in its own process; this one watches over them."""
    shutdown = Shutdown()
    watcher = _watcher(graph)
    processes = Processes(graph, _say)

    def failed() -> str:
        processes.watch()
        return watcher.failed

    try:
        processes.start()
        shutdown.spin(watcher, until=failed)
    finally:
        processes.end()
    if watcher.failed:
        raise RosError(watcher.failed)
    return 0


def _one_process(graph: Graph) -> NoReturn:
    """All nodes in this process, with one executor."""
    from tosa_ros.ros.node import finish

    nodes: list[Any] = []
    shutdown = Shutdown(lambda: not nodes or any(node.loading for node in nodes))
    watcher = _watcher(graph)
    with contextlib.suppress(KeyboardInterrupt):
        nodes += _nodes_here(graph)
        shutdown.spin(watcher, *nodes, until=lambda: watcher.failed)
    watcher.destroy_node()
    finish(nodes)
    if watcher.failed:
        raise RosError(watcher.failed)
    exit_now(0)


def _nodes_here(graph: Graph) -> list[Any]:
    from rclpy.parameter import Parameter

    from tosa_ros.ros.depth_node import DepthNode
    from tosa_ros.ros.qa_node import QaNode
    from tosa_ros.ros.vision_node import VisionNode

    def overrides(node: str) -> list[Parameter]:
        return [Parameter(name, value=value) for name, value in graph.parameters(node).items()]

    vision = VisionNode(parameter_overrides=overrides('vision_node'))
    nodes: list[Any] = [vision, QaNode(vision, parameter_overrides=overrides('qa_node'))]
    if 'depth_node' in graph.nodes:
        nodes.append(DepthNode(parameter_overrides=overrides('depth_node')))
    return nodes


def _watcher(graph: Graph) -> StatusWatcher:
    from tosa_ros.ros.graph_status import StatusWatcher

    def ready() -> None:
        space = f' --namespace {graph.namespace}' if graph.namespace else ''
        _say(f'ready: tosa say{space} "what do you see?"    (Ctrl-C ends)')

    return StatusWatcher(graph.nodes, _say, ready)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # The graph outlives its terminal until it is told to end.
        print(f'tosa up: {line}', flush=True)
