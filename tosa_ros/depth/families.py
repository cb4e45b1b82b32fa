"""Which depth models of transformers are known, and which kind of depth each gives: one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForDepthEstimation,
    DPTImageProcessorPil,
    PromptDepthAnythingImageProcessorPil,
    ZoeDepthImageProcessorPil,
)

from tosa_ros.depth.estimators import DepthKind
from tosa_ros.depth.networks import DepthPro, Dpt, Network, PromptDepthAnything, ZoeDepth
from tosa_ros.errors import DepthError
from tosa_ros.loading import check_shards, is_missing_folder, one_line_errors, quiet_loading

# Of the first fusion, which has nothing to add: Intel's DPT checkpoints leave them out.
_UNUSED = ('neck.fusion_stage.layers.0.residual_layer1.', 'fusion_stage.intermediate.0.residual_')


def _depth_pro_settings(path: str, **kwargs: Any) -> dict[str, Any]:
    """transformers' own class for Depth Pro needs torchvision; only its settings are read."""
    found, _ = DPTImageProcessorPil.get_image_processor_dict(path, **kwargs)
    size = {'height': 1536, 'width': 1536}
    return {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3, 'size': size} | found


@dataclass(frozen=True)
class Family:
    """Checkpoints of one model_type.

    text: what it is and gives, for people.
    kind: of a configuration.
    processor: loads what prepares its images.
    step_px: of what its input's sides are multiples, where they may be chosen.
    """

    text: str
    network: type[Network]
    kind: Callable[[Any], DepthKind]
    processor: Callable[..., Any]
    step_px: int | None = None


FAMILIES = {
    'depth_anything': Family(
        'Depth Anything V1 and V2, disparity or metres by depth_estimation_type',
        Network,
        lambda config: config.depth_estimation_type,
        DPTImageProcessorPil.from_pretrained,
        14,
    ),
    'depth_pro': Family('Depth Pro, metres', DepthPro, lambda _: 'metric', _depth_pro_settings),
    # add_projection marks DINOv2's own heads, which were trained to give metres on NYUv2 and
    # KITTI; all others are MiDaS, whose output is inverse depth up to a scale and a shift.
    'dpt': Family(
        "DPT: MiDaS, disparity; DINOv2's for NYUv2 and KITTI, metres",
        Dpt,
        lambda config: 'metric' if config.add_projection else 'relative',
        DPTImageProcessorPil.from_pretrained,
    ),
    'prompt_depth_anything': Family(
        "Prompt Depth Anything, metres from a sensor's coarse depth",
        PromptDepthAnything,
        lambda _: 'metric',
        PromptDepthAnythingImageProcessorPil.from_pretrained,
        14,
    ),
    'zoedepth': Family(
        'ZoeDepth, metres', ZoeDepth, lambda _: 'metric', ZoeDepthImageProcessorPil.from_pretrained
    ),
}


def load_network(
    path: str, *, dtype: torch.dtype | None, revision: str | None, input_size: int | None
) -> Network:
    """Loads a transformers checkpoint (safetensors) from a folder or the hub.

    Raises:
        DepthError: what cannot be found, read or used.
    """
    if is_missing_folder(path):
        raise DepthError(f'depth model: {path!r} is not a folder; give one, or a hub id')
    what = f'depth model {path!r}'
    check_shards(path, DepthError)
    with one_line_errors(f'{what} cannot be loaded', DepthError):
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    family = FAMILIES.get(config.model_type)
    if family is None:
        known = '; '.join(f'{name} ({one.text})' for name, one in FAMILIES.items())
        raise DepthError(f'{what}: {config.model_type} is not supported; supported: {known}')
    size = {}
    if input_size is not None:
        if family.step_px is None:
            raise DepthError(f'{what}: {config.model_type} has one size; leave input_size out')
        size = {'size': checked_size(input_size, family.step_px)}
    with one_line_errors(f'{what} cannot be loaded', DepthError), quiet_loading():
        processor = family.processor(path, revision=revision, trust_remote_code=False, **size)
        model, info = AutoModelForDepthEstimation.from_pretrained(
            path,
            revision=revision,
            dtype='auto' if dtype is None else dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    missing = sorted(name for name in info['missing_keys'] if not name.startswith(_UNUSED))
    if missing:
        raise DepthError(
            f'{what} lacks {len(missing)} tensors, {missing[0]} first; is it complete?'
        )
    return family.network(model.eval(), processor, family.kind(config))


def checked_size(input_size: int, step_px: int) -> dict[str, int]:
    """The input's shorter side as image processors take it."""
    if input_size < step_px or input_size % step_px:
        raise DepthError(
            f'input_size: {input_size}; wanted a multiple of {step_px}, such as 252 or 518'
        )
    return {'height': input_size, 'width': input_size}
