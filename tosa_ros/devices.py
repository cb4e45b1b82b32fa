"""Whether this machine has a device, and which one is the best."""

from __future__ import annotations

import contextlib
import ctypes
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
