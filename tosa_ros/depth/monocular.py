"""Depth from colour alone: Depth Anything V1 and V2, by transformers or by torch.hub.

A model is relative (unscaled disparity: how things order in depth) or metric (metres, for the
kind of scene it was trained on). The two never mix: relative depth fills a Frame's
`relative_depth`, metric depth its `depth_m`.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForDepthEstimation, DPTImageProcessorPil
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from tosa_ros.depth.estimators import DepthEstimate, DepthEstimator
from tosa_ros.devices import checked_device
from tosa_ros.errors import DepthError
from tosa_ros.loading import check_shards, is_missing_folder, one_line_errors, quiet_loading

SUPPORTED = {'depth_anything': 'Depth Anything V1 and V2, relative and metric'}
PATCH_PX = 14
# What Depth Anything was trained with: the image's shorter side in the model's input.
TRAINED_INPUT_PX = 518
_PINNED = re.compile(r'[\w.-]+/[\w.-]+:[0-9a-f]{40}')


class MonocularDepth(DepthEstimator):
    """Depth Anything, or a module of torch.hub that maps the same.

    kind: 'metric' or 'relative', what every estimate of this model holds.
    """

    def __init__(
        self,
        predict: Callable[[torch.Tensor], torch.Tensor],
        processor: DPTImageProcessorPil,
        *,
        kind: Literal['metric', 'relative'],
        device: str | torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Most callers want `from_pretrained` or `from_hub`.

        predict: pixels (1, 3, h, w) -> (1, h', w') or (1, 1, h', w'): metres, or disparity
            (greater is nearer).
        """
        self.kind = kind
        self.processor = processor
        self.device = torch.device(device)
        self.dtype = dtype
        self._predict = predict

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        device: str = 'cpu',
        dtype: torch.dtype | None = None,
        revision: str | None = None,
        input_size: int | None = None,
    ) -> MonocularDepth:
        """Loads a transformers checkpoint (safetensors) from a folder or the hub.

        dtype: by default the checkpoint's own.
        revision: a hub commit, tag or branch.
        input_size: the shorter side of the model's input in pixels, a multiple of 14; by default
            the checkpoint's (518). 252 is about five times faster and coarser.

        Raises:
            DepthError: what cannot be found, read or used.
            ModelError: there is no such device.
        """
        device = checked_device(device)
        path = str(path_or_id)
        if is_missing_folder(path):
            raise DepthError(f'depth model: {path!r} is not a folder; give one, or a hub id')
        what = f'depth model {path!r}'
        check_shards(path, DepthError)
        with one_line_errors(f'{what} cannot be loaded', DepthError):
            config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
        if config.model_type not in SUPPORTED:
            known = '; '.join(f'{name} ({text})' for name, text in SUPPORTED.items())
            raise DepthError(f'{what}: {config.model_type} is not supported; supported: {known}')
        size = {} if input_size is None else {'size': _checked_size(input_size)}
        with one_line_errors(f'{what} cannot be loaded', DepthError), quiet_loading():
            processor = DPTImageProcessorPil.from_pretrained(
                path, revision=revision, trust_remote_code=False, **size
            )
            model, info = AutoModelForDepthEstimation.from_pretrained(
                path,
                revision=revision,
                dtype='auto' if dtype is None else dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            model = model.to(device).eval()
        missing = sorted(info['missing_keys'])
        if missing:
            raise DepthError(
                f'{what} lacks {len(missing)} tensors, {missing[0]} first; is it complete?'
            )
        return cls(
            lambda pixels: model(pixel_values=pixels).predicted_depth,
            processor,
            kind=config.depth_estimation_type,
            device=device,
            dtype=model.dtype,
        )

    @classmethod
    def from_hub(
        cls,
        repo: str | Path,
        entry: str,
        *,
        source: Literal['local', 'github'] = 'local',
        metric: bool,
        device: str = 'cpu',
        input_size: int = TRAINED_INPUT_PX,
        **entry_kwargs: Any,
    ) -> MonocularDepth:
        """Loads a model through torch.hub; this runs the code of that repository.

        The entry's module maps ImageNet-normalised pixels (1, 3, h, w), h and w multiples of 14,
        to (1, h, w), as the Depth Anything repositories' modules do.

        Args:
            repo: a folder with a hubconf.py, or 'owner/name:commit' with all 40 digits.
            entry: a function in hubconf.py; entry_kwargs go to it (encoder=, max_depth=, ...).
            metric: whether the module gives metres; otherwise disparity, greater is nearer.
            input_size: as in `from_pretrained`.

        Raises:
            DepthError: a reference that is not pinned, or what cannot be found or loaded.
            ModelError: there is no such device.
        """
        device = checked_device(device)
        repo = str(repo)
        if source == 'github' and not _PINNED.fullmatch(repo):
            raise DepthError(
                f'torch.hub {repo!r} is not pinned, so that its code may change; pin it by a '
                "commit: 'owner/name:' and the 40 digits that `git rev-parse` prints"
            )
        if source == 'local' and not (Path(repo) / 'hubconf.py').is_file():
            raise DepthError(f'torch.hub {repo!r}: not a folder with a hubconf.py')
        processor = DPTImageProcessorPil(
            size=_checked_size(input_size),
            keep_aspect_ratio=True,
            ensure_multiple_of=PATCH_PX,
            image_mean=IMAGENET_DEFAULT_MEAN,
            image_std=IMAGENET_DEFAULT_STD,
        )
        # torch.hub announces downloads on standard output, which may be someone's JSON.
        with (
            one_line_errors(f'torch.hub {repo!r}, entry {entry!r} cannot be loaded', DepthError),
            contextlib.redirect_stdout(sys.stderr),
        ):
            # A commit names its content, so that asking GitHub which branch has it adds nothing.
            model = torch.hub.load(
                repo,
                entry,
                source=source,
                trust_repo=True,
                skip_validation=True,
                verbose=False,
                **entry_kwargs,
            )
            model = model.to(device).eval()
            dtype = next((p.dtype for p in model.parameters()), torch.float32)
        kind = 'metric' if metric else 'relative'
        return cls(model, processor, kind=kind, device=device, dtype=dtype)

    @torch.inference_mode()
    def estimate(self, rgb: np.ndarray) -> DepthEstimate:
        """Colour (H, W, 3) uint8 -> DepthEstimate at the same pixels.

        Relative depth is the model's disparity, least to greatest scaled to 0..1 in each image; a
        flat map gives 0. Resizing is bilinear: bicubic would overshoot at depth edges.

        Raises:
            DepthError: another kind of array, or a model that gave no usable map.
        """
        rgb = np.asarray(rgb)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise DepthError(
                f'depth estimate: rgb has shape {rgb.shape}, dtype {rgb.dtype}; wanted '
                '(H, W, 3) uint8, not empty'
            )
        with one_line_errors(
            f'depth estimate of {rgb.shape[1]}x{rgb.shape[0]} pixels failed', DepthError
        ):
            batch = self.processor(rgb, input_data_format='channels_last', return_tensors='pt')
            raw = self._predict(batch['pixel_values'].to(self.device, self.dtype))
        values = _resized(raw, rgb.shape[:2])
        if not np.isfinite(values).any():
            raise DepthError(
                'depth estimate: the model gave no finite value; does its dtype '
                f'({str(self.dtype).removeprefix("torch.")}) fit it?'
            )
        if self.kind == 'metric':
            usable = np.isfinite(values) & (values > 0)
            return DepthEstimate(depth_m=np.where(usable, values, np.float32(np.nan)))
        return DepthEstimate(relative_depth=_scaled_to_one(values))


def _checked_size(input_size: int) -> dict[str, int]:
    if input_size < PATCH_PX or input_size % PATCH_PX:
        raise DepthError(
            f'input_size: {input_size}; wanted a multiple of {PATCH_PX}, such as 252 or 518'
        )
    return {'height': input_size, 'width': input_size}


def _resized(raw: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """A model's (1, h, w) or (1, 1, h, w) -> (H, W) float32."""
    shape = tuple(getattr(raw, 'shape', ()))
    if len(shape) not in (3, 4) or any(n != 1 for n in shape[:-2]):
        raise DepthError(
            f'depth estimate: the model gave {shape or type(raw).__name__}; wanted (1, h, w)'
        )
    raw = raw.float().reshape(1, 1, *shape[-2:])
    resized = torch.nn.functional.interpolate(raw, size, mode='bilinear', align_corners=False)
    return resized[0, 0].cpu().numpy()


def _scaled_to_one(disparity: np.ndarray) -> np.ndarray:
    """(H, W) -> least 0, greatest 1, NaN where not finite; all 0 if there is no difference."""
    known = np.where(np.isfinite(disparity), disparity, np.float32(np.nan))
    low, high = np.nanmin(known), np.nanmax(known)
    return (known - low) / (high - low if high > low else np.float32(1))
