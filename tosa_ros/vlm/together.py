"""encode_together: the tokens of all frames of a question, merged over all of them at the output.

What several frames show of one surface becomes one token. Where frames lie to each other is known
by their poses, so spatial tokens and points are made in the map they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tosa_ros.errors import FrameError, MergingError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod, NoMerging, ToSA
from tosa_ros.spatial import SpatialTokens
from tosa_ros.spatial.metric import surface_codes
from tosa_ros.spatial.surfaces import patch_surfaces
from tosa_ros.vision import MergedTokens, merge_output
from tosa_ros.vlm.tokens import VisualTokens
from tosa_ros.vlm.vision_encoder import VisionEncoder


@torch.inference_mode()
def encode_together(encoder: VisionEncoder, frames: Sequence[Frame]) -> list[VisualTokens]:
    """Each frame's share of the tokens of them all: round(keep * N) of N patches in all frames.

    The encoder's method merges, at the output whatever its usual place is. A token belongs to the
    frame of the middle one of its patches, counted from the first frame's first to the last one's
    last, and stands there; a frame may be left with none. Its `size` counts patches of all frames,
    its `source`, `uv` and `rgb` tell of those in its own.

    The tokens are of these frames together: other frames, or the same and one more, give others,
    so that nothing the language model has read of them is used again.

    Raises:
        FrameError: several frames have metric depth, and one of them no pose.
        MergingError: the method merges in the tower, or by levels of depth, which frames do not
            share; or frames are cut into tiles.
    """
    method = encoder.merging
    _check(encoder, method)
    plain = _unmerged(encoder, frames)
    places = [_surfaces(encoder, frame) for frame in frames]
    poses = _poses(frames, [place is not None for place in places])
    device = plain[0].embeddings.device
    spatial = _common(plain, places, poses, method)
    merged = merge_output(
        method,
        torch.cat([one.embeddings for one in plain])[None],
        None if spatial is None else spatial.to(device),
        keys=encoder.family.key_channels,
    )
    whole = _described(plain, merged)
    return [
        _share(part, one, pose)
        for part, one, pose in zip(whole.parts(), plain, poses, strict=True)
    ]


def _check(encoder: VisionEncoder, method: MergingMethod) -> None:
    if encoder.tiles is not None:
        raise MergingError('tiles: frames in tiles do not merge together; leave the option out')
    if method.where == 'tower':
        raise MergingError("where: 'tower', but frames merge together at the output alone")
    if getattr(method, 'spatial', 'auto') == 'levels':
        raise MergingError(
            "spatial: 'levels', but levels of depth are each frame's own; frames merge together "
            "by 'metric' or 'auto'"
        )


def _unmerged(encoder: VisionEncoder, frames: Sequence[Frame]) -> list[VisualTokens]:
    method = encoder.merging
    encoder.merging = NoMerging()
    try:
        return encoder.encode(frames)
    finally:
        encoder.merging = method


def _surfaces(encoder: VisionEncoder, frame: Frame) -> tuple[Tensor, Tensor] | None:
    """Points and normals of a frame's patches in its camera's frame; None without metric depth."""
    if not frame.has_metric_points:
        return None
    k = frame.intrinsics
    camera = torch.tensor([k.fx, k.fy, k.cx, k.cy])
    grid = encoder.image_input.grid(frame.width, frame.height)
    return patch_surfaces(torch.tensor(frame.depth_m), camera, grid)


def _poses(frames: Sequence[Frame], metric: Sequence[bool]) -> list[np.ndarray]:
    """Each camera's pose in the map, (4, 4); of one frame alone, its own."""
    poses = []
    for number, (frame, known) in enumerate(zip(frames, metric, strict=True)):
        if frame.pose is None and known and sum(metric) > 1:
            raise FrameError(
                f'frame {number} of {len(frames)} has no pose: frames merge together by where '
                'poses say they are; give poses, or let each frame merge by itself'
            )
        poses.append(np.eye(4) if frame.pose is None else np.asarray(frame.pose, np.float64))
    return poses


def _common(
    plain: Sequence[VisualTokens],
    places: Sequence[tuple[Tensor, Tensor] | None],
    poses: Sequence[np.ndarray],
    method: MergingMethod,
) -> SpatialTokens | None:
    """Spatial tokens of all patches in the map; None where no frame has metric depth."""
    if not any(place is not None for place in places):
        return None
    points, normals = [], []
    for one, place, pose in zip(plain, places, poses, strict=True):
        nowhere = torch.full((one.before, 3), float('nan'))
        own = (nowhere, nowhere) if place is None else place
        turn = torch.tensor(pose[:3, :3], dtype=torch.float32)
        points.append(own[0] @ turn.T + torch.tensor(pose[:3, 3], dtype=torch.float32))
        normals.append(own[1] @ turn.T)
    xyz = torch.cat(points)
    known = xyz[:, 2].isfinite()
    scale = getattr(method, 'length_scale_m', ToSA.length_scale_m)
    codes = surface_codes(xyz, torch.cat(normals), scale).masked_fill(~known[:, None], 0.0)
    return SpatialTokens('metric', codes[None], known.float()[None], xyz[None])


def _described(plain: Sequence[VisualTokens], merged: MergedTokens) -> VisualTokens:
    """The merged tokens as those of one image, whose grids are the frames'."""
    tokens = merged.tokens[0]
    nowhere = np.full((len(tokens), 3), np.nan, np.float32)
    return replace(
        plain[0],
        embeddings=tokens,
        size=merged.size[0].cpu().numpy(),
        source=merged.source[0].cpu().numpy(),
        uv=nowhere[:, :2],
        rgb=np.zeros((len(tokens), 3), np.uint8),
        xyz=nowhere if merged.xyz is None else merged.xyz[0].cpu().float().numpy(),
        grids=tuple(grid for one in plain for grid in one.grids),
    )


def _share(part: VisualTokens, own: VisualTokens, pose: np.ndarray) -> VisualTokens:
    """The tokens of one frame, described by that frame; xyz goes from the map to its camera."""
    member = (part.source[None] == np.arange(len(part))[:, None]).astype(np.float32)
    mean = member / member.sum(axis=1, keepdims=True)
    return replace(
        part,
        uv=(mean @ own.uv).astype(np.float32),
        rgb=(mean @ own.rgb).round().clip(0, 255).astype(np.uint8),
        xyz=((part.xyz - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32),
        spatial=own.spatial,
        stamp=own.stamp,
        doubts=own.doubts,
    )
