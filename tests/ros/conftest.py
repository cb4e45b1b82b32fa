"""Tests with real rclpy and real DDS: a domain of their own, on this machine only."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tf2_messages import make_tf2_msgs

ROOT = Path(__file__).parents[2]


def _own_domain() -> tuple[int, int]:
    """A domain that no other run of these tests on this machine has; and its open lock file."""
    for step in range(101):  # 1 to 101 are the domains whose ports are free on Linux.
        domain = 1 + (os.getpid() + step) % 101
        path = Path(tempfile.gettempdir()) / f'tosa_ros_tests_domain_{domain}'
        lock = os.open(path, os.O_CREAT | os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
        os.close(lock)
    raise RuntimeError('all ROS domains are in use by tests')


_OWN_DOMAIN = _own_domain()
# Before rclpy is imported anywhere.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(_OWN_DOMAIN[0])
os.environ['FASTDDS_DEFAULT_PROFILES_FILE'] = str(ROOT / 'config' / 'fastdds.xml')

PATIENCE_S = 40.0


@pytest.fixture(scope='session')
def ros():
    """rclpy, initialised for the session."""
    rclpy = pytest.importorskip('rclpy')
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()
    # What the killed processes left in shared memory.
    from tosa_ros.ros.fastdds import remove_dead_segments

    remove_dead_segments()


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """A LLaVA-OneVision folder with random weights: 36 image tokens, made-up words."""
    from tosa_ros.vlm.untrained import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture(scope='session')
def tf2_msgs(tmp_path_factory):
    """The module tf2_msgs.msg: of the ROS distribution, or made here, as PyPI lacks it."""
    if find_spec('tf2_msgs') is None:
        if not shutil.which('g++'):
            pytest.skip('tf2_msgs is not on PyPI, and there is no g++ to make it')
        made = str(make_tf2_msgs(tmp_path_factory.mktemp('tf2')))
        sys.path.append(made)
        # For the processes that tests start.
        os.environ['PYTHONPATH'] = os.pathsep.join(
            filter(None, [os.environ.get('PYTHONPATH'), made])
        )
    return import_module('tf2_msgs.msg')


class Bench:
    """The rest of the robot in this process: a camera, someone who asks, someone who listens."""

    width, height = 160, 120

    def __init__(self, rclpy) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rcl_interfaces.msg import Log
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CameraInfo, Image, PointCloud2
        from std_msgs.msg import String, UInt8

        self.rclpy = rclpy
        self.node = rclpy.create_node('bench')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.received: dict[str, list] = {}
        self.subscriptions: dict[str, object] = {}
        self.kinds = {
            'image': Image,
            'depth': Image,
            'relative_depth': Image,
            'depth/doubts': UInt8,
            'sensor_depth': Image,
            'camera_info': CameraInfo,
            'depth_camera_info': CameraInfo,
            'question': String,
            'answer': String,
            'answer/partial': String,
            'answer/evidence': PointCloud2,
            'visual_tokens': PointCloud2,
            'merge_image': Image,
            '/diagnostics': DiagnosticArray,
            '/rosout': Log,
        }
        self.mouths: dict[str, object] = {}
        self.clock = time.time
        rng = np.random.default_rng(0)
        self.rgb = rng.integers(0, 256, (self.height, self.width, 3), dtype=np.uint8)
        self.depth_m = np.full((self.height, self.width), 2.0, np.float32)
        self.listen('/diagnostics', 'answer', 'answer/partial')

    def listen(self, *names: str) -> None:
        from rclpy.qos import QoSDurabilityPolicy, QoSProfile

        for name in names:
            if name not in self.subscriptions:
                qos = QoSProfile(depth=1000)
                if name == '/rosout':
                    qos.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
                self.received[name] = []
                self.subscriptions[name] = self.node.create_subscription(
                    self.kinds[name], name, self.received[name].append, qos
                )

    def stop_listening(self, *names: str) -> None:
        for name in names:
            self.node.destroy_subscription(self.subscriptions.pop(name))

    def publisher(self, name: str, reliable: bool = True):
        from rclpy.qos import QoSProfile

        from tosa_ros.ros.topics import reliability

        if name not in self.mouths:
            depth = 1000 if name == 'question' else 10
            qos = QoSProfile(depth=depth, reliability=reliability(reliable))
            self.mouths[name] = self.node.create_publisher(self.kinds[name], name, qos)
        return self.mouths[name]

    def silence(self, *names: str) -> None:
        for name in names or list(self.mouths):
            self.node.destroy_publisher(self.mouths.pop(name))

    def header(self, stamp_s: float | None = None):
        from std_msgs.msg import Header

        from tosa_ros.ros.conversions import stamp_message

        stamp = stamp_message(self.clock() if stamp_s is None else stamp_s)
        return Header(frame_id='camera', stamp=stamp)

    def see(
        self, *, depth=True, image=None, camera_info=None, stamp_s=None, depth_topic='depth'
    ) -> None:
        """Publishes one instant; depth and image may be messages of one's own."""
        from tosa_ros.frames import Intrinsics
        from tosa_ros.ros import conversions

        header = self.header(stamp_s)
        info = conversions.camera_info_message(
            Intrinsics(120.0, 120.0, 79.5, 59.5, self.width, self.height), header
        )
        picture = conversions.image_message(self.rgb, 'rgb8', header)
        for name, message in (
            ('camera_info', camera_info or info),
            ('image', image or picture),
            (depth_topic, conversions.image_message(self.depth_m, '32FC1', header)),
        ):
            if name == depth_topic and depth is not True:
                if not depth:
                    continue
                message = depth
            message.header = header
            self.publisher(name).publish(message)

    def ask(self, data: str) -> None:
        from std_msgs.msg import String

        self.publisher('question').publish(String(data=data))

    def wait(self, condition, pump=None, timeout_s: float = PATIENCE_S, every_s: float = 0.05):
        """Spins until the condition holds, calling `pump` now and then; gives what it gave."""
        end, due = time.monotonic() + timeout_s, 0.0
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f'waited {timeout_s} s in vain; {self.story()}')
            if pump is not None and time.monotonic() >= due:
                pump()
                due = time.monotonic() + every_s
            self.executor.spin_once(timeout_sec=0.02)

    def story(self) -> str:
        counts = {name: len(messages) for name, messages in self.received.items()}
        return f'received {counts}, diagnostics {[(n, s[1]) for n, s in self.health().items()]}'

    def next(self, name: str, pump=None, where=lambda message: True):
        """The next message on a topic that fulfils `where`."""
        self.listen(name)
        start = len(self.received[name])
        self.wait(lambda: any(where(m) for m in self.received[name][start:]), pump)
        return next(m for m in self.received[name][start:] if where(m))

    def reply(self, question: str, pump=None, name: str = 'q') -> dict:
        """Asks and gives the answer."""
        self.wait(lambda: self.publisher('question').get_subscription_count() > 0, pump)
        start = len(self.received['answer'])
        self.ask(json.dumps({'id': name, 'text': question}))
        return self.wait(lambda: self.answers(start, name), pump)[0]

    def answers(self, start: int = 0, name: str | None = None) -> list[dict]:
        replies = [json.loads(message.data) for message in self.received['answer'][start:]]
        return [reply for reply in replies if name is None or reply['id'] == name]

    def health(self, since: int = 0) -> dict[str, tuple[int, str, dict]]:
        """The newest diagnostics of each node: level, message, values."""
        newest = {}
        for array in self.received['/diagnostics'][since:]:
            for status in array.status:
                values = {item.key: item.value for item in status.values}
                newest[status.name] = (status.level[0], status.message, values)
        return newest

    def state(self, name: str, since: int = 0) -> str:
        return self.health(since).get(name, (0, '', {}))[2].get('state', '')

    def logged(self, name: str, text: str) -> int:
        """How often a node logged something with this text."""
        self.listen('/rosout')
        return sum(text in log.msg for log in self.received['/rosout'] if log.name == name)

    def told_once(self, name: str, text: str) -> bool:
        """Waits until a node logged something with this text; whether it did only once."""
        self.wait(lambda: self.logged(name, text))
        return self.logged(name, text) == 1

    def call(self, kind, name: str, request, pump=None):
        client = self.node.create_client(kind, name)
        try:
            self.wait(client.service_is_ready, pump)
            future = client.call_async(request)
            self.wait(future.done, pump)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def change(self, name: str, transition: str, pump=None) -> bool:
        """A lifecycle transition: 'configure', 'activate', 'deactivate', 'cleanup'."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = transition
        return self.call(ChangeState, f'{name}/change_state', request, pump).success

    def close(self) -> None:
        self.executor.remove_node(self.node)
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def bench(ros):
    made = Bench(ros)
    yield made
    made.close()


@pytest.fixture
def node_here(bench):
    """Makes a node of a class in this process, with parameters; it is closed at the end."""
    from rclpy.parameter import Parameter

    made = []

    def make(kind, *args, options=(), **parameters):
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        made.append(kind(*args, parameter_overrides=given, **dict(options)))
        bench.executor.add_node(made[-1])
        return made[-1]

    yield make
    for node in made:
        node.close()
        bench.executor.remove_node(node)
        node.destroy_node()
    # What waits for the nodes holds on to them.
    bench.executor.spin_once(timeout_sec=0.0)
    # Until it is collected, a node's name keeps its rosout publisher from the next one.
    made.clear()
    gc.collect()


@pytest.fixture(scope='module')
def module_bench(ros):
    made = Bench(ros)
    made.listen('/rosout')
    yield made
    made.close()


class Process:
    """A command in a process of its own, its output in a file."""

    def __init__(self, command: list[str], output: Path) -> None:
        self._output = output
        with open(output, 'w') as stream:
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, 'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'passive'},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def end(self, how: int = signal.SIGINT, timeout_s: float = PATIENCE_S) -> int:
        """Ends it; gives its exit code."""
        if self.alive:
            self.popen.send_signal(how)
        return self.popen.wait(timeout_s)


@pytest.fixture(scope='module')
def run_process(tmp_path_factory):
    """Starts commands; those that are left at the end are ended."""
    started, folder = [], tmp_path_factory.mktemp('output')

    def start(command: list[str]) -> Process:
        started.append(Process(command, folder / f'{len(started)}.log'))
        return started[-1]

    yield start
    for process in started:
        try:
            process.end()
        except subprocess.TimeoutExpired:
            process.end(signal.SIGKILL)
        print(process.output)


@pytest.fixture(scope='module')
def spawn(run_process):
    """Starts nodes in processes of their own."""

    def start(name: str, **parameters) -> Process:
        given = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
        return run_process([sys.executable, '-m', 'tosa_ros.ros.run', name, '--ros-args', *given])

    return start
