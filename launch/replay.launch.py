"""A bag through the nodes: `ros2 launch tosa_ros replay.launch.py bag:=BAG questions:=Q.json`.

The bag is played with /clock, the questions are asked at their times, and the report goes to
`out`; without questions the bag is only played. Ends when the bag does, with its exit code. The
topics are found in the bag; name them with image_topic:=... and so on, or camera:=..., where
there are several. The other arguments of vqa.launch.py hold too.
"""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription
from tosa_ros.ros.cameras import RECORDED, camera_choices, recorded_topics
from tosa_ros.ros.package_files import shared_file
from tosa_ros.sources.bags.played import graph_arguments
from tosa_ros.sources.bags.topics import BagTopics

ARGUMENTS = {
    'bag': (None, 'A bag: its folder or file.'),
    'questions': ('', 'Questions about it, as `tosa replay` takes them.'),
    'out': ('replay', 'The folder for predictions, scores and report.'),
    'rate': ('1.0', 'How fast to play.'),
}
# Those of vqa.launch.py that say where in the bag to find what.
HEARD = (
    'camera', 'depth_source', 'image_transport', 'depth_transport',
    *(f'{name}_topic' for name in RECORDED),
)  # fmt: skip


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


def play(context: LaunchContext) -> list[object]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    topics = named_topics(context)
    # Unless it is named, no camera: the bag says what is in it.
    heard = {'camera': '', **graph_arguments(Path(given['bag']), topics), **chosen(context)}
    told = [SetLaunchConfiguration(name, value) for name, value in heard.items()]
    if given['questions']:
        tosa = ExecutableInPackage(executable='tosa', package='tosa_ros')
        command = [tosa, 'replay', given['bag'], '--live', '--rate', given['rate']]
        command += ['--questions', given['questions'], '--out', given['out']]
        for name, topic in vars(topics).items():
            command += [f'--{name.replace("_", "-")}-topic', topic] if topic else []
        space = LaunchConfiguration('namespace', default='').perform(context)
        command += ['--namespace', space] if space else []
    else:
        command = ['ros2', 'bag', 'play', given['bag'], '--clock', '--rate', given['rate']]
    player = ExecuteProcess(cmd=command, output='screen')
    return [*told, player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=end))]


def chosen(context: LaunchContext) -> dict[str, str]:
    """What the user has chosen of what a bag would say else."""
    given = {name: LaunchConfiguration(name, default='').perform(context) for name in HEARD}
    return {name: value for name, value in given.items() if value}


def named_topics(context: LaunchContext) -> BagTopics:
    """The topics that the user or the camera names, with their transports, as a bag has them."""
    given = chosen(context)
    if 'camera' in given:
        given = {**camera_choices(given['camera']), **given}
    return BagTopics(**recorded_topics(given))


def end(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'the player ended with exit code {event.returncode} (see above)')
    return EmitEvent(event=Shutdown(reason='the bag has been played'))
