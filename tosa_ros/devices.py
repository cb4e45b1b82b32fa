"""Whether this machine has a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tosa_ros.errors import ModelError

if TYPE_CHECKING:
    import torch


def checked_device(device: str | torch.device) -> str | torch.device:
    """`device` itself. Raises ModelError for one that torch does not know or find here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f'device {str(device)!r}: not available here ({reason}); `tosa info` lists what is'
        ) from error
    return device
