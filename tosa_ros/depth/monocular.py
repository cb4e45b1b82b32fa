"""Depth from colour by a trained model: transformers' checkpoints, or Depth Anything's own files.

A model is relative (unscaled disparity: how things order in depth) or metric (metres, for the
kind of scene it was trained on). The two never mix: relative depth fills a Frame's
`relative_depth`, metric depth its `depth_m`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tosa_ros.depth.estimators import DepthEstimate, DepthEstimator
from tosa_ros.depth.families import checked_size, load_network
from tosa_ros.depth.original import PATCH_PX, TRAINED_INPUT_PX, load_original
from tosa_ros.depth.published import is_weights
from tosa_ros.devices import checked_device
from tosa_ros.errors import DepthError
from tosa_ros.loading import one_line_errors

if TYPE_CHECKING:
    from tosa_ros.depth.networks import Network
    from tosa_ros.frames import Frame


class MonocularDepth(DepthEstimator):
    """A depth model of `tosa_ros.depth.families`, or one of the files of Depth Anything's authors.

    kind: 'metric' or 'relative', what every estimate of this model holds.
    needs_sensor: it refines a sensor's depth (Prompt Depth Anything).
    """

    def __init__(self, network: Network) -> None:
        """Most callers want `from_pretrained`."""
        self.network, self.kind = network, network.kind
        self.needs_sensor = network.needs_sensor

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
        """Loads a model.

        path_or_id: a transformers checkpoint (safetensors), in a folder or on the hub; or a file
            of Depth Anything's authors (`depth_anything_v2_vits.pth`), by its path, by a URL that
            ends with `#sha256=` and its hash, or by its name alone, which downloads it.
        dtype: by default the checkpoint's own.
        revision: a hub commit, tag or branch.
        input_size: the shorter side of the input in pixels, a multiple of 14, for Depth Anything;
            by default the checkpoint's (518). 252 is about five times faster and coarser.

        Raises:
            DepthError: what cannot be found, read or used.
            ModelError: there is no such device.
        """
        device = checked_device(device)
        path = str(path_or_id)
        if is_weights(path):
            if revision is not None:
                raise DepthError(f'depth model {path!r}: revision goes with a hub id, not a file')
            size = checked_size(input_size or TRAINED_INPUT_PX, PATCH_PX)['height']
            network = load_original(path, dtype=dtype, input_size=size)
        else:
            network = load_network(path, dtype=dtype, revision=revision, input_size=input_size)
        with one_line_errors(f'depth model {path!r} cannot be loaded', DepthError):
            network.model.to(device)
        return cls(network)

    def estimate(self, rgb: np.ndarray) -> DepthEstimate:
        """Colour (H, W, 3) uint8 -> DepthEstimate at the same pixels.

        Relative depth is the model's disparity, least to greatest scaled to 0..1 in each image; a
        flat map gives 0.

        Raises:
            DepthError: another kind of array, or a model that gave no usable map.
        """
        return self._estimate(rgb)

    def estimate_frame(self, frame: Frame) -> DepthEstimate:
        """As `estimate`, with the camera and the sensor's depth for models that use them."""
        fx = frame.intrinsics.fx if frame.intrinsics else None
        return self._estimate(frame.rgb, fx, frame.depth_m)

    @torch.inference_mode()
    def _estimate(
        self, rgb: np.ndarray, fx: float | None = None, sensor_m: np.ndarray | None = None
    ) -> DepthEstimate:
        rgb = np.asarray(rgb)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise DepthError(
                f'depth estimate: rgb has shape {rgb.shape}, dtype {rgb.dtype}; wanted '
                '(H, W, 3) uint8, not empty'
            )
        with one_line_errors(
            f'depth estimate of {rgb.shape[1]}x{rgb.shape[0]} pixels failed', DepthError
        ):
            values = self.network.maps(rgb, fx=fx, sensor_m=sensor_m).cpu().numpy()
        if not np.isfinite(values).any():
            dtype = str(self.network.model.dtype).removeprefix('torch.')
            raise DepthError(
                f'depth estimate: the model gave no finite value; does its dtype ({dtype}) fit it?'
            )
        if self.kind == 'metric':
            usable = np.isfinite(values) & (values > 0)
            return DepthEstimate(depth_m=np.where(usable, values, np.float32(np.nan)))
        return DepthEstimate(relative_depth=_scaled_to_one(values))


def _scaled_to_one(disparity: np.ndarray) -> np.ndarray:
    """(H, W) -> least 0, greatest 1, NaN where not finite; all 0 if there is no difference."""
    known = np.where(np.isfinite(disparity), disparity, np.float32(np.nan))
    low, high = np.nanmin(known), np.nanmax(known)
    return (known - low) / (high - low if high > low else np.float32(1))
