"""The trainer's state on disk: written whole or not at all, read without running code."""

from __future__ import annotations

from pathlib import Path

import torch

from tosa_ros.errors import ModelError
from tosa_ros.files import whole_file

NAME = 'state.pt'


def save_state(folder: Path, state: dict) -> Path:
    """Writes a state of tensors, numbers, strings and containers of them, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with whole_file(path, ModelError) as partial, partial.open('wb') as file:
        torch.save(state, file)
    return path


def load_state(folder: Path) -> dict | None:
    """The state, on the CPU, or None when there is none.

    Raises:
        ModelError: there is one and it cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ModelError(
            f'checkpoint {path}: {type(error).__name__}: cannot be read; delete it, or start '
            'afresh with --fresh'
        ) from error
