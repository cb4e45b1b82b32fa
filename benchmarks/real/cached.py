"""A frozen tower's tokens of every training view, once, in one file that is mapped into memory.

Merging takes no part here: the model is trained on all tokens and must take merged ones as it
finds them.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.real.nyu import Scene, View, scene
from tosa_ros.errors import DataError
from tosa_ros.files import write_text

CROPS = 4
BATCH = 8


def training_views(number: int) -> list[View]:
    """A training frame's views: whole, mirrored, and parts of it, every second one mirrored."""
    rng = np.random.default_rng([number, 77])
    views = [View(), View(mirrored=True)]
    for i in range(CROPS):
        width, height = rng.uniform(0.6, 0.9, 2)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        box = (left, top, left + width, top + height)
        views.append(View(tuple(round(float(x), 4) for x in box), mirrored=bool(i % 2)))
    return views


def tower_tokens(tower: torch.nn.Module, pixels: Tensor) -> Tensor:
    """(B, N, D): the patches' tokens after the last layer, before the final norm."""
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        return tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:].float()


def cached_tokens(
    tower: torch.nn.Module,
    pixels_of: Callable[[np.ndarray], Tensor],
    folder: Path,
    numbers: Sequence[int],
    path: Path,
) -> np.ndarray:
    """(frames, views, N, D) float16, mapped from `path`; what is not there yet is made.

    A stopped call goes on where it stopped. The file's name should tell tower and input size.
    """
    views = [training_views(number) for number in numbers]
    first = _tokens(tower, pixels_of, [View().of(scene(folder, numbers[0]))])
    shape = (len(numbers), len(views[0]), *first.shape[1:])
    done = path.with_suffix('.done')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        done.unlink(missing_ok=True)
    at = int(done.read_text()) if done.is_file() else 0
    mode = 'r+' if at else 'w+'
    tokens = np.lib.format.open_memmap(path, mode, np.float16, None if at else shape)
    if tokens.shape != shape:
        raise DataError(f'{path}: holds {tokens.shape}; wanted {shape}: delete it')
    start, begun = time.monotonic(), at
    while at < len(numbers):
        whole = scene(folder, numbers[at])
        tokens[at] = _tokens(tower, pixels_of, [view.of(whole) for view in views[at]])
        at += 1
        if at % 20 == 0 or at == len(numbers):
            tokens.flush()
            write_text(done, str(at))
            each = (time.monotonic() - start) / (at - begun)
            print(f'tower: {at}/{len(numbers)} frames, {each:.2f} s each', file=sys.stderr)
    return np.lib.format.open_memmap(path, 'r')


def cache_name(tower_weights: str, side: int) -> str:
    return f'tokens-{side}-{hashlib.sha256(tower_weights.encode()).hexdigest()[:12]}.npy'


def _tokens(
    tower: torch.nn.Module, pixels_of: Callable[[np.ndarray], Tensor], scenes: Sequence[Scene]
) -> np.ndarray:
    parts = []
    for first in range(0, len(scenes), BATCH):
        pixels = torch.stack([pixels_of(one.rgb) for one in scenes[first : first + BATCH]])
        parts.append(tower_tokens(tower, pixels).to(torch.float16).numpy())
    return np.concatenate(parts)
