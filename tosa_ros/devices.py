"""Whether this machine has a device, and which one is the best."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.errors import ModelError

if TYPE_CHECKING:
    import torch


def checked_device(device: str | torch.device) -> str | torch.device:
    """`device` itself; for 'auto' the best one: cuda, else mps, else cpu.

    Raises ModelError for one that torch does not know or find here.
    """
    import torch

    if device == 'auto':
        if torch.cuda.is_available():
            return 'cuda'
        return 'mps' if torch.backends.mps.is_available() else 'cpu'
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f'device {str(device)!r}: not available here ({reason}); `tosa info` lists what is'
        ) from error
    return device


def release_memory() -> None:
    """Gives freed memory back to the system; glibc keeps much of it, half a gigabyte after one 4K
    image. A few milliseconds; does nothing with other C libraries.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_memory(device: str | torch.device) -> int | None:
    """Bytes that a device could still give, on a CPU of the machine or this container; or None."""
    import torch

    device = torch.device(device)
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    if device.type != 'cpu':
        return None
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path('/proc/meminfo').read_text().splitlines()
        line = next(line for line in lines if line.startswith('MemAvailable:'))
        found.append(1024 * int(line.split()[1]))
    with contextlib.suppress(OSError, ValueError):  # of no limit it says 'max'
        limit = int(Path('/sys/fs/cgroup/memory.max').read_text())
        found.append(max(0, limit - int(Path('/sys/fs/cgroup/memory.current').read_text())))
    return min(found, default=None)
