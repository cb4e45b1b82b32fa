"""The three nodes on a robot: `ros2 launch tosa_ros vqa.launch.py` (topics as RealSense has them).

Another camera: image_topic:=... depth_topic:=... camera_info_topic:=...; no depth camera:
depth_source:=monocular or depth_source:=none. `ros2 launch tosa_ros vqa.launch.py -s` lists all.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from tosa_ros.ros.bringup import DEPTH_SOURCES, Graph, quiet_threads
from tosa_ros.ros.fastdds import profile_environment
from tosa_ros.ros.package_files import shared_file

CAMERA = '/camera/camera'
OPTIONAL = {'': None, 'true': True, 'false': False}
# name: (default, what it is, the values it may have)
ARGUMENTS = {
    'namespace': ('', 'Namespace of the nodes and of their relative topics.', None),
    'use_sim_time': (
        '',
        'Time comes from /clock (a bag, a simulation); empty: the file decides.',
        tuple(OPTIONAL),
    ),
    'params_file': (str(shared_file('config/vqa.yaml')), 'Parameters of the nodes.', None),
    'log_level': ('info', 'Severity from which on the nodes log.', None),
    'autostart': (
        '',
        'Off, a lifecycle manager configures and activates; empty: the file decides.',
        tuple(OPTIONAL),
    ),
    'image_topic': (f'{CAMERA}/color/image_raw', 'Colour.', None),
    'depth_topic': (
        f'{CAMERA}/aligned_depth_to_color/image_raw',
        "The sensor's depth, aligned to colour (or see register in the parameters).",
        None,
    ),
    'camera_info_topic': (f'{CAMERA}/color/camera_info', "The colour camera's.", None),
    'depth_source': (
        '',
        'Where depth comes from; none: no depth_node; empty: the file decides.',
        ('', *DEPTH_SOURCES),
    ),
    'model': ('', 'Checkpoint folder or Hugging Face name; empty: the file decides.', None),
    'device': ('', 'cpu, cuda, cuda:1 ...; empty: the file decides.', None),
    'keep': ('', 'Fraction of the image tokens kept; empty: the file decides.', None),
    'use_rviz': ('false', 'Start RViz too, with what there is to see.', ('true', 'false')),
}


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ]
    environment = {**profile_environment(), **quiet_threads()}
    variables = [SetEnvironmentVariable(name, value) for name, value in environment.items()]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    graph = Graph(
        params_file=given['params_file'],
        namespace=given['namespace'],
        image_topic=given['image_topic'],
        depth_topic=given['depth_topic'],
        camera_info_topic=given['camera_info_topic'],
        depth_source=given['depth_source'] or None,
        model=given['model'] or None,
        device=given['device'] or None,
        keep=float(given['keep']) if given['keep'] else None,
        use_sim_time=OPTIONAL[given['use_sim_time']],
        autostart=OPTIONAL[given['autostart']],
        log_level=given['log_level'],
    )
    nodes = [
        Node(
            package='tosa_ros',
            executable=name,
            namespace=graph.namespace,
            parameters=[some for some in (graph.params_file, graph.parameters(name)) if some],
            remappings=graph.remappings(),
            arguments=['--ros-args', '--log-level', graph.log_level],
            output='screen',
            # A node that died comes back into the graph by itself.
            respawn=True,
            respawn_delay=1.0,
        )
        for name in graph.nodes
    ]
    if given['use_rviz'] == 'true':
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
