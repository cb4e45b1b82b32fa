"""What ROS costs: latencies, frames and memory of the three nodes, against direct calls.

    python -m benchmarks.ros --seconds 60 --soak-minutes 15 --json > ros.json

Starts `tosa camera` and the nodes as processes, as `tosa up` does, and measures from outside. The
direct calls do the same work in two processes without ROS: one encodes the frames at the camera's
rate, one answers. Graph and direct calls take turns, so that both meet the machine as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# A graph of its own, on this machine only; before rclpy reads it.
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 101))

import numpy as np
import rclpy
from sensor_msgs.msg import CameraInfo, PointCloud2

from tosa_ros.messages import stamp_ns, stamp_s
from tosa_ros.ros.asker import Asker
from tosa_ros.ros.bringup import Graph, Processes, quiet_threads
from tosa_ros.ros.fastdds import profile_environment
from tosa_ros.ros.topics import qos_profile

QUESTION = 'How many red boxes are there?'
QUESTION_PERIOD_S = 0.5
SOAK_PERIOD_S = 12.0  # five questions a minute
ROUNDS = 4
SETTLED_S = 120.0  # Into a soak, all memory that the work needs has been asked for.
WHAT = {
    'tokens': 'camera stamp to visual_tokens',
    'first_word': 'question to first word',
    'last_word': 'question to last word',
}
Times = dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', help='the embedded one if not given')
    parser.add_argument('--keep', type=float, default=0.25)
    parser.add_argument('--size', type=int, default=128, help='of the camera, pixels')
    parser.add_argument('--rate', type=float, default=30.0, help='of the camera, hertz')
    parser.add_argument('--seconds', type=float, default=60.0, help='of each side, 0: soak only')
    parser.add_argument('--soak-minutes', type=float, default=0.0)
    parser.add_argument('--json', action='store_true', help='print rows, not tables')
    args = parser.parse_args()
    os.environ.update({**profile_environment('benchmark'), **quiet_threads()})
    rclpy.init()
    rows: list[dict[str, Any]] = []
    with graph(args) as processes:
        if args.seconds:
            rows += latency(args)
        if args.soak_minutes:
            rows += soak(args, processes)
    rclpy.try_shutdown()
    print(json.dumps({'rows': rows}, indent=2) if args.json else table(rows))
    return 0


@contextlib.contextmanager
def graph(args: argparse.Namespace) -> Iterator[Processes]:
    """Camera and nodes, running."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'params.yaml'
        unlimited = '/**/{}:\n  ros__parameters: {{max_rate: 0.0}}\n'
        file.write_text(unlimited.format('depth_node') + unlimited.format('vision_node'))
        nodes = Processes(
            Graph.of({'params_file': str(file), 'model': args.model, 'keep': args.keep}),
            say=_progress,
        )
        scene = ['--size', str(args.size), '--rate', str(args.rate)]
        camera = subprocess.Popen(
            [sys.executable, '-m', 'tosa_ros.cli.main', 'camera', *scene], stdout=sys.stderr
        )
        try:
            nodes.start()
            yield nodes
        finally:
            camera.send_signal(signal.SIGINT)
            camera.wait(20)
            nodes.end()


def latency(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Graph and direct calls in turn: a row for each latency, and one for the frames."""
    by_graph, by_calls = _no_times(), _no_times()
    shown = made = 0
    with direct(args) as calls:
        for number in range(ROUNDS):
            _progress(f'round {number + 1} of {ROUNDS}')
            counts = graph_round(args, by_graph)
            shown, made = shown + counts[0], made + counts[1]
            for name, times in calls(args.seconds / ROUNDS).items():
                by_calls[name] += times
    rows = []
    for name, what in WHAT.items():
        row = {'what': what, **_percentiles(by_graph[name], '')}
        row |= _percentiles(by_calls[name], 'direct_')
        rows.append(row | {'ros_ms': round(row['p50_ms'] - row['direct_p50_ms'], 1)})
    share = {'frames': shown, 'made_tokens': made, 'share': round(made / shown, 4)}
    return [*rows, {'what': f'frames at {args.rate:g} Hz that became tokens', **share}]


def graph_round(args: argparse.Namespace, times: Times) -> tuple[int, int]:
    """Asks for a while; how many frames the camera showed, and how many became tokens."""
    asker = Asker('bench_asker')
    shown: set[int] = set()
    made: dict[int, float] = {}

    def tokens_came(cloud: PointCloud2) -> None:
        made[stamp_ns(cloud.header.stamp)] = time.time() - stamp_s(cloud.header.stamp)

    def camera_came(info: CameraInfo) -> None:
        shown.add(stamp_ns(info.header.stamp))

    asker.create_subscription(PointCloud2, 'visual_tokens', tokens_came, qos_profile('viewer'))
    asker.create_subscription(CameraInfo, 'camera_info', camera_came, qos_profile('text'))
    asker.wait_until(lambda: len(made) > 20, 60.0, 'no visual tokens within a minute')
    ask(asker)  # The first after a rest.
    shown.clear()
    made.clear()
    end = time.monotonic() + args.seconds / ROUNDS
    while time.monotonic() < end:
        due = time.monotonic() + QUESTION_PERIOD_S
        first_s, last_s = ask(asker)
        times['first_word'].append(first_s)
        times['last_word'].append(last_s)
        _spin(asker, due)
    asker.close()
    times['tokens'] += made.values()
    # Of those shown last, the tokens are still being made.
    counted = {stamp for stamp in shown if stamp <= max(made)}
    return len(counted), len(counted & made.keys())


def ask(asker: Asker) -> tuple[float, float]:
    """Seconds from question to first and to last word, as the asker sees them."""
    start = time.perf_counter()
    first: list[float] = []
    reply = asker.ask(QUESTION, 60.0, lambda _: first.append(time.perf_counter() - start))
    if reply['error']:
        raise RuntimeError(reply['error'])
    last_s = time.perf_counter() - start
    return (first[0] if first else last_s), last_s


@contextlib.contextmanager
def direct(args: argparse.Namespace) -> Iterator[Callable[[float], Times]]:
    """The same work by calls: gives a function that does it for some seconds.

    A process encodes what the camera shows at its rate, and this one answers about it.
    """
    from tosa_ros.assets import embedded_model
    from tosa_ros.vlm import Answerer

    model = args.model or embedded_model()
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    encoder = context.Process(target=_encode, args=(theirs, model, args), daemon=True)
    encoder.start()
    answerer = Answerer.from_pretrained(model)
    tokens = ours.recv()

    def work(seconds: float) -> Times:
        times = _no_times()
        ours.send(seconds)
        end = time.monotonic() + seconds
        for number in range(10**9):
            if time.monotonic() > end:
                break
            due = time.monotonic() + QUESTION_PERIOD_S
            start = time.perf_counter()
            pieces = answerer.stream([tokens[number % len(tokens)]], QUESTION)
            next(pieces, None)
            times['first_word'].append(time.perf_counter() - start)
            list(pieces)
            times['last_word'].append(time.perf_counter() - start)
            time.sleep(max(0.0, due - time.monotonic()))
        return times | {'tokens': ours.recv()}

    work(2.0)  # The first calls of a process are slow.
    try:
        yield work
    finally:
        ours.send(None)
        encoder.join(20)


def _encode(pipe: Any, model: Any, args: argparse.Namespace) -> None:
    """The process that encodes, for a given time; returns how long each frame took."""
    from tosa_ros.merging import ToSA
    from tosa_ros.synthetic import episode
    from tosa_ros.vlm import VisionEncoder

    encoder = VisionEncoder.from_pretrained(model, merging=ToSA(keep=args.keep))
    frames = episode('test', 0, frames=32, size=args.size, questions=0).frames
    pipe.send([encoder.encode([frame])[0] for frame in frames])
    while (seconds := pipe.recv()) is not None:
        times = []
        start = time.monotonic()
        for number in range(int(seconds * args.rate)):
            time.sleep(max(0.0, start + number / args.rate - time.monotonic()))
            began = time.perf_counter()
            encoder.encode([frames[number % len(frames)]])
            times.append(time.perf_counter() - began)
        pipe.send(times)


def soak(args: argparse.Namespace, processes: Processes) -> list[dict[str, Any]]:
    """Resident memory of each node while five questions a minute are asked."""
    asker = Asker('bench_soak')
    pids = processes.pids
    sizes: dict[str, list[float]] = {name: [] for name in pids}
    rounds = round(60 * args.soak_minutes / SOAK_PERIOD_S)
    for number in range(rounds):
        due = time.monotonic() + SOAK_PERIOD_S
        ask(asker)
        _spin(asker, due)
        for name, pid in pids.items():
            sizes[name].append(resident_mib(pid))
        _progress(f'soak {number + 1} of {rounds}: {json.dumps(sizes_now(sizes))}')
    asker.close()
    return [_soak_row(name, series) for name, series in sizes.items()]


def sizes_now(sizes: dict[str, list[float]]) -> dict[str, float]:
    return {name: round(series[-1], 2) for name, series in sizes.items()}


def _soak_row(name: str, series: list[float]) -> dict[str, Any]:
    """growth_percent: from the first minute after settling to the last minute."""
    settled = series[min(int(SETTLED_S / SOAK_PERIOD_S), len(series) // 3) :]
    minute = max(1, int(60 / SOAK_PERIOD_S))
    begin, end = statistics.median(settled[:minute]), statistics.median(settled[-minute:])
    return {
        'what': f'memory of {name}, {len(series)} questions',
        'mib_begin': round(begin, 1),
        'mib_end': round(end, 1),
        'mib_max': round(max(settled), 1),
        'growth_percent': round(100 * (end / begin - 1), 3),
    }


def resident_mib(pid: int) -> float:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown, a table for each kind of row."""
    lines: list[str] = []
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            lines += ['', f'| {" | ".join(columns)} |', '|' + ' --- |' * len(columns)]
        lines.append(f'| {" | ".join(map(str, row.values()))} |')
    return '\n'.join(lines[1:])


def _no_times() -> Times:
    return {name: [] for name in WHAT}


def _spin(asker: Asker, until: float) -> None:
    while (left_s := until - time.monotonic()) > 0:
        asker.executor.spin_once(timeout_sec=left_s)


def _percentiles(seconds: list[float], prefix: str) -> dict[str, float]:
    p50, p95 = np.percentile(np.asarray(seconds) * 1e3, (50, 95))
    return {f'{prefix}p50_ms': round(float(p50), 1), f'{prefix}p95_ms': round(float(p95), 1)}


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
