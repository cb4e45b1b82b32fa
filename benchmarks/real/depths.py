"""Depth as users have it: a sensor's, with holes, an estimator's, relative, or none at all."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from tosa_ros.frames import Frame
from tosa_ros.spatial import relative_from_metric

DEPTHS = ('sensor', 'estimated', 'holes', 'levels', 'none')
WRONG_SCALE = 1.2
HOLES = 0.3
BLUR = 16  # pixels
BLOB = 40  # pixels


def with_depth(frame: Frame, kind: str, name: str = '') -> Frame:
    """The frame with another kind of depth; without depth it stays as it is.

    estimated: edges blurred over BLUR pixels, and 20 % too far, as Depth Anything's metric models
    may be. holes: blobs of HOLES of the picture are missing; `name` seeds where. levels: relative
    depth, as an estimator without a scale gives it.
    """
    if kind == 'sensor' or frame.depth_m is None:
        return frame
    if kind == 'none':
        return frame.without_depth()
    depth = torch.from_numpy(np.array(frame.depth_m))
    if kind == 'levels':
        relative = relative_from_metric(depth).numpy()
        return replace(frame.without_depth(), relative_depth=relative)
    depth = _blurred(depth) * WRONG_SCALE if kind == 'estimated' else _holed(depth, name)
    return replace(frame, depth_m=depth.numpy())


def _blurred(depth: torch.Tensor) -> torch.Tensor:
    """Means of the known depth over BLUR pixels, and straight lines between them: no edge."""
    known = depth.isfinite().float()[None, None]
    filled = depth.nan_to_num(0.0)[None, None]
    size = [max(1, n // BLUR) for n in depth.shape]
    sums, area = (F.interpolate(x, size=size, mode='area') for x in (filled, known))
    mean = (sums / area).nan_to_num(float(depth[depth.isfinite()].mean()))
    smooth = F.interpolate(mean, size=depth.shape, mode='bilinear')[0, 0]
    return smooth.where(depth.isfinite(), float('nan'))


def _holed(depth: torch.Tensor, name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    coarse = torch.rand([max(2, n // BLOB) for n in depth.shape], generator=generator)
    noise = F.interpolate(coarse[None, None], size=depth.shape, mode='bilinear')[0, 0]
    return depth.masked_fill(noise < noise.flatten().quantile(HOLES), float('nan'))
