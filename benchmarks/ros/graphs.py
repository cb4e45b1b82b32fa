"""The processes of each side: camera and nodes, started and ended, and what they use."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tosa_ros.ros.bringup import Graph, Processes

END_S = 20.0
SIDES = {
    'depth': 'three nodes',
    'colour': 'colour alone, two nodes',
    'one': 'three nodes in one process',
    'ros': 'ROS alone: the same messages, nothing computed',
}
Pids = Mapping[str, int]


@contextlib.contextmanager
def running(side: str, args: argparse.Namespace) -> Iterator[Pids]:
    """Camera and nodes of one of SIDES; gives the nodes' process ids, by name."""
    with contextlib.ExitStack() as stack:
        started(stack, 'benchmarks.ros.camera', args.size, str(args.rate))
        if side == 'ros':
            for role in ('depth', 'tokens'):
                started(stack, 'benchmarks.ros.relay', role, args.size)
            yield {}
        elif side == 'one':
            words = [
                '--single-process',
                '--params-file',
                str(parameters(stack)),
                '--log-level',
                'warn',
            ]
            words += ['--keep', str(args.keep)] + (['--model', args.model] if args.model else [])
            yield {'tosa up': started(stack, 'tosa_ros.cli.main', 'up', *words)}
        else:
            given = {'params_file': str(parameters(stack)), 'model': args.model}
            given |= {'keep': args.keep, 'log_level': 'warn'} | (
                {'depth_source': 'none'} if side == 'colour' else {}
            )
            nodes = Processes(Graph.of(given), say=progress)
            stack.callback(nodes.end)
            nodes.start()
            yield nodes.pids


def parameters(stack: contextlib.ExitStack) -> Path:
    """A parameter file that lets nodes take every frame."""
    file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / 'params.yaml'
    unlimited = '/**/{}:\n  ros__parameters: {{max_rate: 0.0}}\n'
    file.write_text(unlimited.format('depth_node') + unlimited.format('vision_node'))
    return file


def started(stack: contextlib.ExitStack, *words: str) -> int:
    """Starts a module of Python, which ends with the stack; its process id."""
    process = subprocess.Popen([sys.executable, '-m', *words], stdout=sys.stderr)
    stack.callback(_end, process)
    return process.pid


def _end(process: subprocess.Popen) -> None:
    for how in (signal.SIGINT, signal.SIGKILL):
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            return


def cpu_s(pids: Pids) -> float:
    """Processor time that the processes have taken, seconds."""
    ticks = 0
    for pid in pids.values():
        # The name, in brackets, may hold spaces.
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK')


def resident_mib(pid: int) -> float:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
