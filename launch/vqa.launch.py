"""The three nodes on a robot: `ros2 launch tosa_ros vqa.launch.py` (topics as RealSense has them).

Another camera: image_topic:=... depth_topic:=... camera_info_topic:=...; no depth camera:
depth_source:=monocular or depth_source:=none. `ros2 launch tosa_ros vqa.launch.py -s` lists all.
"""

from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from tosa_ros.ros.bringup import Graph, launch_arguments, quiet_threads
from tosa_ros.ros.fastdds import profile_environment
from tosa_ros.ros.package_files import shared_file


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=f'{argument.description} Empty: {argument.empty}.',
            choices=argument.choices,
        )
        for argument in launch_arguments()
    ]
    environment = {**profile_environment(), **quiet_threads()}
    variables = [SetEnvironmentVariable(name, value) for name, value in environment.items()]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    given = {a.name: LaunchConfiguration(a.name).perform(context) for a in launch_arguments()}
    use_rviz = given.pop('use_rviz') == 'true'
    graph = Graph.of(given)
    nodes = [
        Node(
            package='tosa_ros',
            executable=name,
            namespace=graph.namespace,
            parameters=[graph.file, parameters(graph, name)],
            remappings=graph.remappings(),
            arguments=['--ros-args', '--log-level', graph.log_level],
            output='screen',
            # A node that died comes back into the graph by itself.
            respawn=True,
            respawn_delay=1.0,
        )
        for name in graph.nodes
    ]
    if use_rviz:
        nodes.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=graph.namespace,
                arguments=['-d', str(shared_file('config/vqa.rviz'))],
                parameters=[{'use_sim_time': bool(graph.use_sim_time)}],
                remappings=graph.remappings(),
            )
        )
    return nodes


def parameters(graph: Graph, node: str) -> dict[str, Any]:
    """A node's parameters beside those of the file; text stays text, whatever it looks like."""
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in graph.parameters(node).items()
    }
