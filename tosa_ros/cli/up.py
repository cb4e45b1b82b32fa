"""`tosa up`: the three nodes, without launch."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING, Any, NoReturn

from tosa_ros.cli.merging import add_setting
from tosa_ros.errors import RosError
from tosa_ros.ros.bringup import Graph, Processes, quiet_threads
from tosa_ros.ros.session import session
from tosa_ros.ros.shutdown import Shutdown, exit_now
from tosa_ros.settings import GRAPH, node_choices

if TYPE_CHECKING:
    from tosa_ros.ros.graph_status import StatusWatcher

# A process that `tosa up` starts always starts itself.
ROWS = tuple(row for row in GRAPH if row.name != 'autostart')


EPILOG = """examples:
  tosa up
  tosa up --image-topic /camera/color/image_raw --keep 0.1 --single-process"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('up', help='start the ROS 2 nodes, until Ctrl-C', epilog=EPILOG)
    for row in ROWS:
        add_setting(parser, row)
    group = parser.add_argument_group('nodes (without an option: what the parameter file says)')
    for row in node_choices().values():
        add_setting(group, row, help=row.help)
    parser.add_argument(
        '--single-process',
        action='store_true',
        help='run all nodes in this process and pass tokens without messages',
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    names = [row.name for row in (*ROWS, *node_choices().values())]
    graph = Graph.of({name: getattr(args, name) for name in names})
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
    with contextlib.suppress(OSError):  # The graph outlives its terminal until a signal ends it.
        print(f'tosa up: {line}', flush=True)
