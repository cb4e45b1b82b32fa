"""What made a run: the command lines, the versions and the machine, kept in its folder."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from tosa_ros import __version__
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.run_folder import SHARD

MADE = 'made.jsonl'
PACKAGES = ('torch', 'transformers', 'numpy')


def add_command(folder: Path, command: str) -> None:
    """Adds a command line, with versions and hardware, to what made the run; each once."""
    record = {'command': command, 'versions': versions(), 'hardware': hardware()}
    with Journal(folder / MADE, _check) as journal:
        if record not in journal.records:
            journal.append(record)


def made_by(folder: Path) -> list[dict[str, Any]]:
    """What made the run and its shards, in order."""
    found: list[dict[str, Any]] = []
    for path in (folder / MADE, *sorted(folder.glob(f'{SHARD}*/{MADE}'))):
        if path.is_file():
            with Journal(path, _check) as journal:
                found += [record for record in journal.records if record not in found]
    return found


def versions() -> dict[str, str]:
    """Of this package, Python and the libraries that answers depend on."""
    found = {'tosa_ros': __version__, 'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """What times depend on. gpu: of a process that uses torch."""
    torch = sys.modules.get('torch')
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None
    return {
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None,
        'memory_gb': round(_memory_bytes() / 1e9, 1),
        'gpu': gpu,
        'system': f'{platform.system()} {platform.release()} {platform.machine()}',
    }


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text('utf-8', errors='replace').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (ValueError, OSError, AttributeError):
        return 0


def _check(record: dict[str, Any]) -> None:
    kinds = {'command': str, 'versions': dict, 'hardware': dict}
    if any(not isinstance(record.get(name), kind) for name, kind in kinds.items()):
        raise ValueError('no command line with versions and hardware')
