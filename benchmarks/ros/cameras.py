"""The cameras of config/cameras.yaml: what each needs, and what the graph reaches with it.

    python -m benchmarks.ros.cameras --doc docs/ros.md
    python -m benchmarks.ros.cameras --only zed oak --doc docs/ros.md    # the other rows stay

A simulated driver in a process of its own publishes what the real one does by default, and the
nodes are started by the camera's name, as `tosa up --camera NAME` starts them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import rclpy

from benchmarks.measuring import report
from benchmarks.ros.drivers import EXTRINSIC, LAYOUTS, Layout, topics_of
from benchmarks.ros.graphs import parameters, progress, started
from benchmarks.ros.listening import Listener, percentiles
from tosa_ros.errors import TosaError
from tosa_ros.frames import Intrinsics
from tosa_ros.ros.bringup import Graph, Processes, quiet_threads
from tosa_ros.ros.cameras import camera_choices
from tosa_ros.ros.fastdds import profile_environment
from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.settings import SYNC_SLOP

TABLE = 'ros-cameras'
WARM_S = 60.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument('--model', help='the embedded one if not given')
    parser.add_argument('--seconds', type=float, default=10.0, help='of each camera')
    parser.add_argument('--share', type=int, default=1, help='of the pixels a side; 4: a quarter')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument('--out', type=Path, help='also write the JSON to this file')
    parser.add_argument('--doc', type=Path, help='also put the table into this Markdown file')
    parser.set_defaults(device='cpu', cpu_time=False)
    args = parser.parse_args(argv)
    os.environ.update({**profile_environment('benchmark'), **quiet_threads()})
    rclpy.init()
    try:
        rows = {name: measured(name, args) for name in args.only}
    except TosaError as error:
        print(f'benchmarks.ros.cameras: {error}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    if args.doc:
        rows = {**known(args.doc.read_text()), **rows}
    report(TABLE, args, [rows[name] for name in LAYOUTS if name in rows])
    return 0


def known(document: str) -> dict[str, dict[str, str]]:
    """The rows of a document's table, by camera."""
    table = document.partition(f'<!-- {TABLE} -->')[2].partition(f'<!-- /{TABLE} -->')[0]
    lines = [line.strip('| ').split(' | ') for line in table.splitlines() if line.startswith('|')]
    return {cells[0]: dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]}


def measured(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """A camera's row."""
    layout = LAYOUTS[name].scaled(args.share)
    given = needed(name, layout)
    row = {'camera': name, 'colour': _colour(layout), 'depth': _depth(layout)}
    row['needs'] = _needs(given)
    with contextlib.ExitStack() as stack:
        started(stack, 'benchmarks.ros.drivers', name, str(args.share))
        chosen = {'params_file': str(parameters(stack)), 'model': args.model, 'log_level': 'warn'}
        nodes = Processes(Graph.of({**given, **chosen}), say=progress)
        stack.callback(nodes.end)
        nodes.start()
        progress(f'{name}: {row["needs"]}')
        return row | reached(name, layout, args.seconds)


def needed(name: str, layout: Layout) -> dict[str, Any]:
    """What a user of this camera gives: its name; where PyPI has no tf, its extrinsic too."""
    given: dict[str, Any] = {'camera': name}
    if not layout.aligned and find_spec('tf2_msgs') is None:
        given['extrinsic'] = EXTRINSIC
    return given


def reached(name: str, layout: Layout, seconds: float) -> dict[str, Any]:
    """Frames that became tokens, what was known of their depth, and how old they were."""
    listener = CameraListener(topics_of(name)['camera_info'], layout.reliable)
    try:
        listener.wait_until(
            lambda: layout.depth is None or listener.kinds['metric'] > 0,
            WARM_S,
            f'{name}: no tokens with depth within {WARM_S:g} s',
        )
        listener.wait_until(lambda: len(listener.made) > 5, WARM_S, f'{name}: no tokens')
        listener.forget()
        listener.spin(time.monotonic() + seconds)
        shown, made = listener.counts()
        p50, p95 = percentiles(list(listener.made.values()))
        kinds = ', '.join(f'{kind} {count}' for kind, count in listener.kinds.most_common())
        return {
            'frames': f'{made} of {shown}',
            'spatial': kinds,
            'p50 ms': f'{p50:.0f}',
            'p95 ms': f'{p95:.0f}',
        }
    finally:
        listener.close()


class CameraListener(Listener):
    """Also counts what was known of the space of each frame."""

    def __init__(self, info_topic: str, reliable: bool) -> None:
        self.kinds: Counter[str] = Counter()
        super().__init__(info_topic, reliable)

    def forget(self) -> None:
        super().forget()
        self.kinds.clear()

    def _tokens(self, cloud: Any) -> None:
        super()._tokens(cloud)
        self.kinds[tokens_from_cloud(cloud).spatial] += 1


def _needs(given: dict[str, Any]) -> str:
    """The settings that the camera's row, or the user, gives beside its topics."""
    choices = {**camera_choices(given['camera']), **given}
    words = [
        f'`{key}: {str(value).lower() if isinstance(value, bool) else value}`'
        for key, value in choices.items()
        if not key.endswith('_topic') and key != 'camera' and value != ''
        and not (key == SYNC_SLOP.name and value == SYNC_SLOP.default)
    ]  # fmt: skip
    return ', '.join(words) or 'nothing'


def _colour(layout: Layout) -> str:
    return f'{layout.encoding} {_size(layout.colour)}, {layout.rate_hz:g} Hz'


def _depth(layout: Layout) -> str:
    if layout.depth is None:
        return 'none'
    lag = f', {1e3 * layout.lag_s:.0f} ms after' if layout.lag_s else ''
    aligned = '' if layout.aligned else ', own frame'
    return f'{layout.depth_encoding} {_size(layout.depth)}{lag}{aligned}'


def _size(camera: Intrinsics) -> str:
    return f'{camera.width}x{camera.height}'


if __name__ == '__main__':
    sys.exit(main())
