"""The three nodes on a robot: `ros2 launch tosa_ros vqa.launch.py camera:=realsense`.

config/cameras.yaml lists the cameras; any topics: image_topic:=... depth_topic:=...
camera_info_topic:=...; no depth camera: depth_source:=monocular or depth_source:=none.
`ros2 launch tosa_ros vqa.launch.py -s` lists all.
"""

from collections.abc import Callable
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription
from tosa_ros.ros.bringup import (
    BAD_PARAMETER,
    SINGLE_PROCESS,
    USE_RVIZ,
    Graph,
    launch_arguments,
    quiet_threads,
    up_words,
)
from tosa_ros.ros.fastdds import profile_environment
from tosa_ros.ros.package_files import shared_file

# A process that died comes back into the graph by itself.
KEPT_UP = {'output': 'screen', 'respawn': True, 'respawn_delay': 1.0}


def generate_launch_description() -> LaunchDescription:
    # Values are checked in `start`, all in one way, which takes True for true as Nav2 does.
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=f'{argument.description} Empty: {argument.empty}.',
        )
        for argument in launch_arguments()
    ]
    variables = [SetEnvironmentVariable(name, value) for name, value in quiet_threads().items()]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[ExecuteProcess]:
    given = {a.name: LaunchConfiguration(a.name).perform(context) for a in launch_arguments()}
    use_rviz, single = (row.parse(given.pop(row.name)) for row in (USE_RVIZ, SINGLE_PROCESS))
    graph = Graph.of(given)
    if use_rviz:
        check_rviz()  # Before anything runs that would be left behind.
    processes = [one_process(given)] if single else nodes(graph)
    if use_rviz:
        processes.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=graph.namespace,
                arguments=['-d', str(shared_file('config/vqa.rviz'))],
                parameters=[{'use_sim_time': bool(graph.use_sim_time)}],
                remappings=graph.remappings(),
            )
        )
    return processes


def nodes(graph: Graph) -> list[ExecuteProcess]:
    return [
        Node(
            package='tosa_ros',
            executable=name,
            namespace=graph.namespace,
            parameters=[graph.file, parameters(graph, name)],
            remappings=graph.remappings(),
            arguments=['--ros-args', '--log-level', graph.log_level],
            additional_env=profile_environment(name),
            on_exit=refuses(name),
            **KEPT_UP,
        )
        for name in graph.nodes
    ]


def one_process(given: dict[str, str]) -> ExecuteProcess:
    tosa = ExecutableInPackage(executable='tosa', package='tosa_ros')
    return ExecuteProcess(
        cmd=[tosa, 'up', '--single-process', *up_words(given)],
        on_exit=refuses('tosa up'),
        **KEPT_UP,
    )


def parameters(graph: Graph, node: str) -> dict[str, Any]:
    """A node's parameters beside those of the file; text stays text, whatever it looks like."""
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in graph.parameters(node).items()
    }


def refuses(node: str) -> Callable[[ProcessExited, LaunchContext], None]:
    """Ends the launch when a node cannot start with its parameters: to try again is no use."""

    def ended(event: ProcessExited, context: LaunchContext) -> None:
        if event.returncode == BAD_PARAMETER and not context.is_shutdown:
            raise RuntimeError(f'{node} cannot start with its parameters (see above)')

    return ended


def check_rviz() -> None:
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        raise RuntimeError(
            'use_rviz: rviz2 is not installed (apt install ros-$ROS_DISTRO-rviz2)'
        ) from None
