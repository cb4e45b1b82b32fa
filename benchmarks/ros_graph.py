"""What ROS costs: latencies, throughput and memory of the three nodes against direct calls.

    python benchmarks/ros_graph.py --model DIR --seconds 30 --soak-minutes 15 --out report.json

Starts `tosa camera` and the nodes as processes, as `tosa up` does, and measures from outside.
Times are milliseconds, p50 and p95. Overhead is the graph's p50 less that of the same calls made
directly in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import PointCloud2

from tosa_ros.ros.asker import Asker
from tosa_ros.ros.bringup import Graph, Processes, quiet_threads
from tosa_ros.ros.conversions import stamp_s
from tosa_ros.ros.topics import qos_profile
from tosa_ros.ros.transport import profile_environment

QUESTION = 'How many red boxes are there?'
SOAK_PERIOD_S = 12.0  # five questions a minute


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', help='the embedded one if not given')
    parser.add_argument('--keep', type=float, default=0.25)
    parser.add_argument('--size', type=int, default=128, help='of the camera, pixels')
    parser.add_argument('--rate', type=float, default=30.0, help='of the camera, hertz')
    parser.add_argument('--seconds', type=float, default=30.0, help='of each measurement')
    parser.add_argument('--soak-minutes', type=float, default=0.0)
    parser.add_argument('--max-new-tokens', type=int, default=16)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    os.environ.update({**profile_environment(), **quiet_threads()})
    report = {'settings': {k: str(v) for k, v in vars(args).items()}, 'direct': direct(args)}
    rclpy.init()
    with graph(args) as pids:
        asker = Asker('bench_asker')
        report['vision'] = vision(args)
        report['question'] = questions(args, asker)
        if args.soak_minutes:
            report['soak'] = soak(args, asker, pids)
        asker.close()
    rclpy.try_shutdown()
    report['overhead_ms'] = {
        'stamp_to_tokens': report['vision']['stamp_to_tokens']['p50']
        - report['direct']['encode']['p50'],
        'first_word': report['question']['first_word']['p50']
        - report['direct']['first_word']['p50'],
        'last_word': report['question']['last_word']['p50'] - report['direct']['last_word']['p50'],
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + '\n')
    return 0


def direct(args: argparse.Namespace) -> dict:
    """The same work by calls, on the frames that the camera will show, each new to the model."""
    from tosa_ros.assets import embedded_model
    from tosa_ros.merging import ToSA
    from tosa_ros.synthetic import episode
    from tosa_ros.vlm import Answerer, VisionEncoder

    model = args.model or embedded_model()
    encoder = VisionEncoder.from_pretrained(model, merging=ToSA(keep=args.keep))
    answerer = Answerer.from_pretrained(model)
    encoded, first, last = [], [], []
    for frame in episode('test', 0, frames=32, size=args.size, questions=0).frames:
        start = time.perf_counter()
        tokens = encoder.encode([frame])
        encoded.append(time.perf_counter() - start)
        start = time.perf_counter()
        pieces = answerer.stream(tokens, QUESTION, max_new_tokens=args.max_new_tokens)
        next(pieces, None)
        first.append(time.perf_counter() - start)
        list(pieces)
        last.append(time.perf_counter() - start)
    # The first calls of a process are slow, there as here.
    times = {'encode': encoded[2:], 'first_word': first[2:], 'last_word': last[2:]}
    return {name: summary(seconds) for name, seconds in times.items()}


@contextlib.contextmanager
def graph(args: argparse.Namespace) -> Iterator[dict[str, int]]:
    """Camera and nodes, running; gives the nodes' process ids."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'params.yaml'
        file.write_text(
            '/**/vision_node:\n  ros__parameters: {max_rate: 0.0}\n'
            '/**/depth_node:\n  ros__parameters: {max_rate: 0.0}\n'
            f'/**/qa_node:\n  ros__parameters: {{max_new_tokens: {args.max_new_tokens}}}\n'
        )
        nodes = Processes(
            Graph(params_file=str(file), model=args.model, keep=args.keep), say=print
        )
        scene = ['--size', str(args.size), '--rate', str(args.rate)]
        camera = subprocess.Popen([sys.executable, '-m', 'tosa_ros.cli.main', 'camera', *scene])
        try:
            nodes.start()
            yield {name: process.pid for name, process in nodes._running.items()}
        finally:
            camera.send_signal(signal.SIGINT)
            camera.wait(20)
            nodes.end()


def vision(args: argparse.Namespace) -> dict:
    """From the camera's stamp to tokens here, and how many of the frames were made tokens of."""
    node = rclpy.create_node('bench_vision')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    came: list[tuple[float, float]] = []

    def heard(cloud: PointCloud2) -> None:
        came.append((time.time(), stamp_s(cloud.header.stamp)))

    node.create_subscription(PointCloud2, 'visual_tokens', heard, qos_profile('viewer'))
    while len(came) < 20:
        executor.spin_once(timeout_sec=0.5)
    came.clear()
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.5)
    executor.shutdown()
    node.destroy_node()
    latencies = [now - stamp for now, stamp in came]
    return {
        'frames': len(came),
        'share_of_frames': len(came) / (args.seconds * args.rate),
        'stamp_to_tokens': summary(latencies),
    }


def ask(asker: Asker) -> tuple[float, float]:
    """Seconds from question to first and to last word, as the asker sees them."""
    start = time.perf_counter()
    first: list[float] = []
    reply = asker.ask(QUESTION, 60.0, lambda _: first.append(time.perf_counter() - start))
    if reply['error']:
        raise RuntimeError(reply['error'])
    return first[0] if first else time.perf_counter() - start, time.perf_counter() - start


def questions(args: argparse.Namespace, asker: Asker) -> dict:
    """From question to words, while the camera runs."""
    ask(asker)
    times = []
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        times.append(ask(asker))
        time.sleep(0.5)
    first, last = zip(*times, strict=True)
    return {'asked': len(times), 'first_word': summary(first), 'last_word': summary(last)}


def soak(args: argparse.Namespace, asker: Asker, pids: dict[str, int]) -> dict:
    """Resident memory of each node, MiB, while five questions a minute are asked."""
    sizes: dict[str, list[float]] = {name: [] for name in pids}
    end = time.monotonic() + 60 * args.soak_minutes
    while time.monotonic() < end:
        ask(asker)
        due = time.monotonic() + SOAK_PERIOD_S
        while time.monotonic() < due:
            asker._executor.spin_once(timeout_sec=1.0)
        for name, pid in pids.items():
            sizes[name].append(resident_mib(pid))
    result = {}
    for name, series in sizes.items():
        third = max(1, len(series) // 3)
        before = statistics.median(series[third : 2 * third])
        after = statistics.median(series[-third:])
        result[name] = {
            'first_mib': series[0],
            'middle_third_mib': before,
            'last_third_mib': after,
            'growth_percent': 100 * (after / before - 1),
        }
    return result


def resident_mib(pid: int) -> float:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def summary(seconds: list[float] | tuple[float, ...]) -> dict[str, float]:
    p50, p95 = np.percentile(np.asarray(seconds) * 1e3, (50, 95))
    return {'p50': round(float(p50), 2), 'p95': round(float(p95), 2)}


if __name__ == '__main__':
    sys.exit(main())
