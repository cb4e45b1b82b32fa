"""The graph under launch_pytest, ROS's own way to test launch files: every process ends well."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = 'comes with a ROS distribution'
launch_pytest = pytest.importorskip('launch_pytest', reason=f'launch_pytest {HERE}')
pytest.importorskip('launch_ros', reason=f'launch_ros {HERE}')
launch = pytest.importorskip('launch')
actions = pytest.importorskip('launch.actions')
handlers = pytest.importorskip('launch.event_handlers')
sources = pytest.importorskip('launch.launch_description_sources')
if pytest.version_tuple >= (8, 4):
    pytest.skip('launch_pytest needs a pytest before 8.4', allow_module_level=True)

FILE = Path(__file__).parents[2] / 'launch' / 'vqa.launch.py'
ended: dict[str, int] = {}


@launch_pytest.fixture
def graph(checkpoint):
    source = sources.PythonLaunchDescriptionSource(str(FILE))
    arguments = {'model': str(checkpoint), 'camera': 'usb'}
    watch = handlers.OnProcessExit(
        on_exit=lambda event, _: ended.update({event.process_name: event.returncode})
    )
    return launch.LaunchDescription(
        [
            actions.RegisterEventHandler(watch),
            actions.IncludeLaunchDescription(source, launch_arguments=arguments.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=graph)
def test_every_process_comes_up_and_ends_with_0(bench):
    bench.wait(lambda: bench.state('vision_node') == bench.state('qa_node') == 'active')
    yield  # The rest runs when launch has ended.
    assert {name.rpartition('-')[0]: code for name, code in ended.items()} == {
        'vision_node': 0,
        'qa_node': 0,
    }
