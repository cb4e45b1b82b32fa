"""A bag through the nodes: `ros2 launch tosa_ros replay.launch.py bag:=BAG questions:=Q.json`.

The bag is played with /clock, the questions are asked at their times, and the report goes to
`out`; without questions the bag is only played. Ends when the bag does. The arguments of
vqa.launch.py hold too; name the bag's topics with image_topic:=... and so on.
"""

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription
from tosa_ros.ros.package_files import shared_file

ARGUMENTS = {
    'bag': (None, 'A bag: its folder or file.'),
    'questions': ('', 'Questions about it, as `tosa replay` takes them.'),
    'out': ('replay', 'The folder for predictions, scores and report.'),
    'rate': ('1.0', 'How fast to play.'),
}
# Those of vqa.launch.py that the player must know too.
SHARED = ('namespace', 'image_topic', 'depth_topic', 'camera_info_topic')


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    graph = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(shared_file('launch/vqa.launch.py'))),
        launch_arguments={'use_sim_time': 'true'}.items(),
    )
    # Before the graph, whose defaults are not the user's choice.
    return LaunchDescription([*declared, OpaqueFunction(function=play), graph])


def play(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    chosen = {name: LaunchConfiguration(name, default='').perform(context) for name in SHARED}
    if LaunchConfiguration('depth_source', default='').perform(context) in ('monocular', 'none'):
        chosen['depth_topic'] = 'none'  # No node would listen to the bag's.
    if given['questions']:
        tosa = ExecutableInPackage(executable='tosa', package='tosa_ros')
        command = [tosa, 'replay', given['bag'], '--live', '--rate', given['rate']]
        command += ['--questions', given['questions'], '--out', given['out']]
        for name, value in chosen.items():
            command += [f'--{name.replace("_", "-")}', value] if value else []
    else:
        command = ['ros2', 'bag', 'play', given['bag'], '--clock', '--rate', given['rate']]
    player = ExecuteProcess(cmd=command, output='screen')
    ended = EmitEvent(event=Shutdown(reason='the bag has been played'))
    return [player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[ended]))]
