"""Depth models of transformers: what each is fed, and what its output means.

A network's map is metres along the optical axis, or disparity, greater is nearer: its `kind` says
which. `tosa_ros.depth.families` tells which network a checkpoint is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tosa_ros.depth.estimators import DepthKind
from tosa_ros.errors import DepthError

_INVERSE_RANGE = 1e-4, 1e4  # of Depth Pro's inverse depths, as its authors clamp them


class Network:
    """A model whose map covers its input: Depth Anything.

    kind: 'metric' is metres, 'relative' is disparity.
    needs_sensor: whether a sensor's depth is a part of the input.
    """

    needs_sensor = False

    def __init__(self, model: Any, processor: Any, kind: DepthKind) -> None:
        """processor: an image processor of transformers."""
        self.model, self.processor, self.kind = model, processor, kind

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, h, w)."""
        batch = self.processor(rgb, input_data_format='channels_last', return_tensors='pt')
        return batch['pixel_values']

    def run(self, pixels: Tensor, **more: Tensor) -> Tensor:
        """What the model gives for an image: (1, 1, h', w') float32."""
        return self.output(pixels, **more).predicted_depth.float()[:, None]

    def output(self, pixels: Tensor, **more: Tensor) -> Any:
        inputs = {'pixel_values': pixels, **more}
        device, dtype = self.model.device, self.model.dtype
        return self.model(**{name: value.to(device, dtype) for name, value in inputs.items()})

    def maps(
        self, rgb: np.ndarray, *, fx: float | None = None, sensor_m: np.ndarray | None = None
    ) -> Tensor:
        """(H, W, 3) uint8 -> (H, W) float32 by `kind`.

        fx: the camera's focal length in pixels, where it is known.
        sensor_m: (H, W) metres, NaN where missing, for a network that needs a sensor.
        """
        return resized(self.run(self.pixels(rgb)), rgb.shape[:2])


class Dpt(Network):
    """DPT, whose processor may pad the image around its middle; the map covers the padding too."""

    def maps(self, rgb: np.ndarray, **_: Any) -> Tensor:
        processor, pixels = self.processor, self.pixels(rgb)
        if not (processor.do_pad and processor.size_divisor):
            return resized(self.run(pixels), rgb.shape[:2])
        height, width = pixels.shape[-2:]
        inner = processor(
            rgb, input_data_format='channels_last', return_tensors='pt', do_pad=False
        )['pixel_values'].shape[-2:]
        raw = resized(self.run(pixels), (height, width))
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        cut = raw[top : top + inner[0], left : left + inner[1]]
        return resized(cut[None, None], rgb.shape[:2])


class ZoeDepth(Network):
    """ZoeDepth, whose processor mirrors a margin around the image before it resizes."""

    def maps(self, rgb: np.ndarray, **_: Any) -> Tensor:
        height, width = rgb.shape[:2]
        top, left = (
            int(math.sqrt(n / 2) * 3) if self.processor.do_pad else 0 for n in (height, width)
        )
        raw = resized(self.run(self.pixels(rgb)), (height + 2 * top, width + 2 * left))
        return raw[top : top + height, left : left + width]


class DepthPro(Network):
    """Depth Pro, which gives inverse depth for a focal length of one image width.

    The camera's focal length makes metres of it; where that is unknown, the model's own estimate.
    """

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """As transformers' processor, which needs torchvision: normalised, then resized."""
        settings = self.processor
        mean, std = (
            torch.tensor(settings[key]).view(3, 1, 1) for key in ('image_mean', 'image_std')
        )
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        image = (image * settings.get('rescale_factor', 1 / 255) - mean) / std
        size = settings['size']['height'], settings['size']['width']
        return torch.nn.functional.interpolate(
            image[None], size, mode='bilinear', align_corners=False
        )

    def maps(self, rgb: np.ndarray, *, fx: float | None = None, **_: Any) -> Tensor:
        width = rgb.shape[1]
        output = self.output(self.pixels(rgb))
        if fx is None:
            if output.field_of_view is None:
                raise DepthError(
                    'this Depth Pro has no part that estimates the field of view, and the '
                    "camera's intrinsics are not known: without either there are no metres"
                )
            half = math.radians(float(output.field_of_view[0])) / 2
            fx = width / 2 / math.tan(half)
        inverse = output.predicted_depth.float()[:, None] * (width / fx)
        return 1 / resized(inverse, rgb.shape[:2]).clamp(*_INVERSE_RANGE)


class PromptDepthAnything(Network):
    """Prompt Depth Anything, which makes a sensor's coarse depth fine.

    Its own map lies between the least and the greatest of the sensor's, and means nothing without.
    """

    needs_sensor = True

    def maps(self, rgb: np.ndarray, *, sensor_m: np.ndarray | None = None, **_: Any) -> Tensor:
        if sensor_m is None or not np.isfinite(sensor_m).any():
            raise DepthError(
                "Prompt Depth Anything refines a sensor's depth in metres, and there is none"
            )
        prompt = filled(torch.from_numpy(sensor_m.astype(np.float32))[None, None])
        if prompt.min() == prompt.max():
            prompt[..., 0, 0] += 1e-6  # as its processor does: it divides by the range
        return resized(self.run(self.pixels(rgb), prompt_depth=prompt), rgb.shape[:2])


def resized(raw: Tensor, size: tuple[int, int], *, corners: bool = False) -> Tensor:
    """(1, 1, h, w) -> (H, W), bilinear: bicubic would overshoot at depth edges.

    corners: the corner pixels' middles stay where they are, and not the image's corners.
    """
    return torch.nn.functional.interpolate(raw, size, mode='bilinear', align_corners=corners)[0, 0]


def filled(depth: Tensor) -> Tensor:
    """(1, 1, H, W) with a value in each NaN: the mean around it, of the smallest square with one.

    Raises:
        DepthError: there is no value at all.
    """
    known = depth.isfinite()
    if known.all():
        return depth
    if not known.any():
        raise DepthError('depth: no pixel has a value')
    pool = {'kernel_size': 2, 'ceil_mode': True}
    weight = torch.nn.functional.avg_pool2d(known.float(), **pool)
    coarse = torch.nn.functional.avg_pool2d(depth.where(known, 0.0), **pool) / weight  # 0 / 0: NaN
    around = filled(coarse).repeat_interleave(2, -1).repeat_interleave(2, -2)
    return depth.where(known, around[..., : depth.shape[-2], : depth.shape[-1]])
