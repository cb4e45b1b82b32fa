"""Options that several commands share, and what becomes of them: frames, methods, pictures."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import console
from tosa_ros.cli.merging import add_setting
from tosa_ros.errors import FrameError
from tosa_ros.files import whole_file
from tosa_ros.settings import DEVICE, DTYPE

if TYPE_CHECKING:
    import numpy as np

    from tosa_ros.frames import Frame
    from tosa_ros.merging import MergingMethod
    from tosa_ros.pipeline import VqaPipeline


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('frames')
    group.add_argument('--rgb', action='append', metavar='FILE', help='colour image; repeatable')
    group.add_argument('--depth', action='append', metavar='FILE', help='depth PNG, one an image')
    group.add_argument(
        '--depth-scale', type=float, metavar='N', help='units of the depth files per metre'
    )
    group.add_argument('--intrinsics', metavar='FX,FY,CX,CY', help="the colour camera's, pixels")
    group.add_argument('--folder', metavar='DIR', help='frames in the OpenEQA layout instead')
    group.add_argument(
        '--frames', type=int, metavar='N', help='this many of the folder, evenly spread'
    )
    group.add_argument(
        '--depth-model', metavar='P', help='estimate depth with this Depth Anything checkpoint'
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('model')
    group.add_argument('--model', metavar='P', help='checkpoint folder or hub id')
    add_setting(group, DEVICE, default=DEVICE.default)
    add_setting(group, DTYPE)


def dtype_from(args: argparse.Namespace) -> Any:
    import torch

    return None if args.dtype in (None, DTYPE.default) else getattr(torch, args.dtype)


def pipeline_from(args: argparse.Namespace, method: MergingMethod) -> VqaPipeline:
    """The model that the options name."""
    from tosa_ros.pipeline import VqaPipeline

    return VqaPipeline.from_pretrained(
        model_path(args), merging=method, device=args.device, dtype=dtype_from(args)
    )


def model_path(args: argparse.Namespace) -> str:
    """--model, or the embedded model, whose limits are said once."""
    if args.model:
        return args.model
    from tosa_ros.assets import EMBEDDED_NOTE, embedded_model

    path = embedded_model()
    console.note(EMBEDDED_NOTE)
    return str(path)


def frames_from(args: argparse.Namespace) -> list[Frame]:
    """The frames that the options name, with estimated depth if a depth model is given."""
    from tosa_ros.frame_folder import read_folder

    if bool(args.folder) == bool(args.rgb):
        raise FrameError('frames: give either --rgb FILE (repeatable) or --folder DIR')
    if args.folder:
        if args.depth:
            raise FrameError('frames: --depth goes with --rgb; a folder has its own depth files')
        known = {'depth_scale': args.depth_scale, 'intrinsics': args.intrinsics}
        folder = read_folder(args.folder, **{k: v for k, v in known.items() if v is not None})
        frames = list(folder if args.frames is None else folder.sampled(args.frames))
    else:
        if args.frames is not None:
            raise FrameError('frames: --frames goes with --folder; of --rgb all are taken')
        frames = _single_frames(args)
    if args.depth_model:
        from tosa_ros.depth import MonocularDepth

        estimator = MonocularDepth.from_pretrained(args.depth_model, device=args.device)
        frames = [estimator.annotate(frame.without_depth()) for frame in frames]
    return frames


def _single_frames(args: argparse.Namespace) -> list[Frame]:
    from tosa_ros.frame_folder import read_frame

    depths: Sequence[str | None] = args.depth or [None] * len(args.rgb)
    if len(depths) != len(args.rgb):
        raise FrameError(
            f'--depth is given {len(depths)} times for {len(args.rgb)} colour images; '
            'give one for each, in the same order'
        )
    if args.depth and args.depth_scale is None:
        raise FrameError(
            '--depth needs --depth-scale: its units per metre, 1000 for millimetres, 5000 for TUM'
        )
    return [
        read_frame(rgb, depth, depth_scale=args.depth_scale, intrinsics=args.intrinsics)
        for rgb, depth in zip(args.rgb, depths, strict=True)
    ]


def print_json(value: dict) -> None:
    """One JSON object on standard output; numbers that are not finite become null."""
    print(json.dumps(_finite(value), ensure_ascii=False))


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
