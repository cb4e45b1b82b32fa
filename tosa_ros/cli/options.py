"""What several commands share: the options of the model, and results as JSON or pictures."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import console
from tosa_ros.cli.merging import add_setting
from tosa_ros.errors import FrameError
from tosa_ros.files import whole_file
from tosa_ros.settings import (
    ATTENTION,
    AUTO,
    COMPILE,
    DEVICE,
    DEVICE_MAP,
    DTYPE,
    QUANTIZE,
    REVISION,
    TILES,
    TOWER,
    chosen_weights,
)

if TYPE_CHECKING:
    import numpy as np

    from tosa_ros.merging import MergingMethod
    from tosa_ros.pipeline import VqaPipeline


def add_model_options(
    parser: argparse.ArgumentParser, *, answers: bool = True, tower_help: str = ''
) -> None:
    """answers: whether a language model is loaded too. tower_help: where --tower takes more."""
    group = parser.add_argument_group('model')
    group.add_argument('--model', metavar='P', help='checkpoint folder or hub id')
    add_device_options(group)
    for row in (QUANTIZE, ATTENTION, REVISION, *((DEVICE_MAP,) if answers else ())):
        add_setting(group, row)
    add_setting(group, TILES)
    add_setting(group, TOWER, metavar='FILE', **({'help': tower_help} if tower_help else {}))
    add_setting(group, COMPILE)


def add_device_options(group: Any) -> None:
    add_setting(group, DEVICE, default=DEVICE.default)
    add_setting(group, DTYPE)


def add_depth_model_option(group: Any) -> None:
    group.add_argument(
        '--depth-model',
        metavar='P',
        help='estimate depth with this checkpoint, or .pth file of Depth Anything',
    )


def batch(text: str) -> int | str:
    """The value of --batch; argparse names another one."""
    return text if text == AUTO else int(text)


def dtype_from(args: argparse.Namespace) -> Any:
    import torch

    return None if args.dtype in (None, DTYPE.default) else getattr(torch, args.dtype)


def weights_from(args: argparse.Namespace) -> Any:
    """How the options say that weights are held: keyword arguments of what loads a model."""
    return chosen_weights(vars(args))


def pipeline_from(args: argparse.Namespace, method: MergingMethod) -> VqaPipeline:
    """The model that the options name."""
    from tosa_ros.devices import checked_device
    from tosa_ros.pipeline import VqaPipeline

    path, device = model_path(args), checked_device(args.device)
    if args.tower and (args.quantize or args.attn):
        console.note('the tower is exported as it is: --quantize and --attn hold for the rest')
    console.detail(f'model {path} on {device}, {args.dtype or "its own type"}, {method}')
    return VqaPipeline.from_pretrained(
        path,
        merging=method,
        device=device,
        dtype=dtype_from(args),
        tiles=bool(args.tiles),
        **weights_from(args),
        trained_frames=args.trained_frames,
        tower=args.tower,
        compile=compiled(args),
    )


def compiled(args: argparse.Namespace) -> bool:
    """Whether --compile is given, which then says what it costs."""
    if args.compile:
        console.note('compiling the tower: the first frame takes a minute or more')
    return bool(args.compile)


def model_path(args: argparse.Namespace) -> str:
    """--model, or the embedded model, whose limits are said once."""
    if args.model:
        return args.model
    from tosa_ros.assets import EMBEDDED_NOTE, embedded_model

    path = embedded_model()
    console.note(EMBEDDED_NOTE)
    return str(path)


def print_json(value: dict) -> None:
    """One JSON object on standard output; numbers that are not finite become null."""
    text = json.dumps(_finite(value), ensure_ascii=False)
    # What a terminal would obey, or cannot show, JSON has as numbers.
    print(''.join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Writes an image file, whole or not at all."""
    from PIL import Image

    path = Path(path)
    try:
        with whole_file(path, FrameError) as partial:
            Image.fromarray(picture).save(partial)
    except (ValueError, KeyError) as error:
        # Pillow reads kinds that it does not write; its KeyError says no more than the kind.
        reason = 'use .png' if isinstance(error, KeyError) else error
        raise FrameError(f'{path}: the picture cannot be written: {reason}') from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
