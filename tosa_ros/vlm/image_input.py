"""From a camera image to the tower's pixels, and where in the image each patch lies.

transformers' own image processor does the pixels; the patch grid follows the same resize, crop
or padding, so that depth is read exactly where the tower looks.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from tosa_ros.errors import ModelError, printable
from tosa_ros.spatial import PatchGrid

if TYPE_CHECKING:
    from tosa_ros.vlm.checkpoint import Checkpoint

Fit = Literal['stretch', 'crop', 'pad', 'processor']
MAX_INPUT_PX = 4096
PIXEL_SETTINGS = ('resample', 'image_mean', 'image_std', 'rescale_factor')
# Towers that stretch their position embeddings to whatever they are given; transformers lets no
# other see an image of another size than it was made for.
ANY_SIZE = ('dinov2', 'dinov2_with_registers')
# A camera's frames are of one size: what a grid has worked out serves all of them.
_patch_grid = functools.lru_cache(maxsize=16)(PatchGrid)


class ImageInput:
    """Preprocessing of one checkpoint, one square an image.

    fit: how an image becomes the square: 'stretch', 'crop' (shortest edge, then the centre),
        'pad', or 'processor': as the settings of its image processor say, the square's size too.
    image_size: of the tower, and of the square unless the image processor decides.
    """

    def __init__(self, settings: dict, fit: Fit, image_size: int, patch_size: int) -> None:
        image_size = checked_pixels(image_size, 'vision_config.image_size')
        self.fit = fit
        if fit == 'processor':
            self.fit = _own_fit(settings)
            image_size = _own_size(settings, self.fit, image_size)
        self.image_size = image_size
        self.patch_size = checked_pixels(patch_size, 'vision_config.patch_size')
        if patch_size > image_size:
            raise ModelError(f'patches of {patch_size} pixels in images of {image_size}')
        pixel = {key: settings[key] for key in PIXEL_SETTINGS if settings.get(key) is not None}
        if self.fit == 'crop':
            size = settings.get('size') or image_size
            # A number, in files of old, is the shortest edge.
            size = {'shortest_edge': size} if isinstance(size, int) else size
            self._shortest = checked_pixels(size.get('shortest_edge', image_size), 'shortest_edge')
            size = {'shortest_edge': self._shortest}
        else:
            size = {'height': image_size, 'width': image_size}
        self._processor = LlavaImageProcessorPil(
            do_pad=self.fit == 'pad',
            do_center_crop=self.fit == 'crop',
            size=size,
            crop_size={'height': image_size, 'width': image_size},
            **pixel,
        )

    @classmethod
    def of(cls, checkpoint: Checkpoint, fit: Fit, joined: int = 1) -> ImageInput:
        """As the checkpoint's own preprocessor configuration says, but for `fit`.

        joined: the tower's patches along a side of what the language model gets as one token.
        """
        settings = _settings(checkpoint)
        vision = checkpoint.config.vision_config
        with checkpoint.loading_errors():
            seen = _side(vision.image_size)
            made = cls(settings, fit, seen, joined * _side(vision.patch_size))
            if made.image_size != seen and vision.model_type not in ANY_SIZE:
                raise ModelError(
                    f'{checkpoint.path}: the image processor makes squares of {made.image_size} '
                    f'pixels, and its tower ({vision.model_type}) sees {seen} alone'
                )
            return tried(made)

    @property
    def side(self) -> int:
        """Patches along one side of the tower's input."""
        return self.image_size // self.patch_size

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, S, S) float32."""
        return preprocessed(self._processor, rgb)['pixel_values'][0].to(torch.float32)

    def grid(self, width: int, height: int) -> PatchGrid:
        """The tower's patches over a width x height image.

        Where patches do not divide the input (27 of 14 pixels in 384), the last pixels on the
        right and at the bottom are in none: the tower's convolution leaves them out.
        """
        left, top, right, bottom = self._box(width, height)
        seen = self.side * self.patch_size / self.image_size
        right, bottom = left + seen * (right - left), top + seen * (bottom - top)
        return _patch_grid(self.side, self.side, left, top, right, bottom, width, height)

    def _box(self, width: int, height: int) -> tuple[float, float, float, float]:
        if self.fit == 'stretch':
            return 0.0, 0.0, float(width), float(height)
        if self.fit == 'pad':
            side = max(width, height)
            left, top = -((side - width) // 2), -((side - height) // 2)
            return float(left), float(top), float(left + side), float(top + side)
        short = min(width, height)
        resized_w = self._shortest * width // short
        resized_h = self._shortest * height // short
        left, top = (resized_w - self.image_size) // 2, (resized_h - self.image_size) // 2
        sx, sy = width / resized_w, height / resized_h
        right, bottom = left + self.image_size, top + self.image_size
        return left * sx, top * sy, right * sx, bottom * sy


def own_processor(checkpoint: Checkpoint, kind: type, **changes: Any) -> Any:
    """The checkpoint's image processor, of one of transformers' classes, with some changes.

    Raises:
        ModelError: it has none, or one of odd settings.
    """
    settings = _settings(checkpoint)
    with checkpoint.loading_errors():
        return kind.from_dict({**settings, **changes})


def preprocessed(processor: Any, rgb: np.ndarray) -> Any:
    """What an image processor of transformers makes of one image, (H, W, 3) uint8."""
    # It is given channels first: it would guess wrongly for images 3 pixels high.
    image = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    return processor.preprocess(image, input_data_format='channels_first', return_tensors='pt')


def tried(made: Any, shapes: Sequence[tuple[int, int, int]] = ((2, 3, 3), (3, 2, 3))) -> Any:
    """The same preprocessing; odd means and the like raise here."""
    for shape in shapes:
        made.pixels(np.zeros(shape, np.uint8))
    return made


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    try:
        return LlavaImageProcessorPil.get_image_processor_dict(
            checkpoint.path, revision=checkpoint.weights.revision
        )[0]
    except OSError as error:
        raise ModelError(
            f'{checkpoint.path}: no preprocessor_config.json or processor_config.json, so how '
            'to scale images is unknown; copy it from the original checkpoint'
        ) from error


def _side(size: Any) -> Any:
    """One side of a square that may be given as two."""
    both = isinstance(size, list | tuple) and len(size) == 2 and size[0] == size[1]
    return size[0] if both else size


def checked_pixels(value: Any, name: str) -> int:
    """A number of pixels that an image can have, in memory too."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_INPUT_PX:
        raise ModelError(
            f'{name} is {printable(repr(value), 60)}; wanted pixels, 1 to {MAX_INPUT_PX}'
        )
    return value


def _own_size(settings: dict, fit: str, image_size: int) -> int:
    """The side of the square that an image processor makes; the tower's where it does not say."""
    cropped = fit != 'stretch' and settings.get('do_center_crop', True)
    name = 'crop_size' if cropped else 'size'
    size = settings.get(name)
    if isinstance(size, dict):
        sides = {size[key] for key in ('height', 'width', 'shortest_edge') if key in size}
        if len(sides) > 1:
            raise ModelError(f'{name} is {printable(repr(size), 60)}; wanted a square')
        size = next(iter(sides), None)
    return image_size if size is None else checked_pixels(size, name)


def _own_fit(settings: dict) -> str:
    if settings.get('do_pad'):
        return 'pad'
    size = settings.get('size') or {}
    stretched = isinstance(size, dict) and 'height' in size and 'width' in size
    return 'stretch' if stretched or not settings.get('do_center_crop', True) else 'crop'
