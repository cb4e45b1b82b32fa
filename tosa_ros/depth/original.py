"""Depth Anything from its authors' own weights, as a model of transformers.

Read as tensors alone, never as code. What the authors do and transformers does not is kept: the
size of the input, its interpolation, and how the encoder's positions are stretched.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import numpy as np
import torch
from torch import Tensor
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from tosa_ros.depth.networks import Network, resized
from tosa_ros.depth.published import Published, file_name, is_url, published
from tosa_ros.errors import DepthError
from tosa_ros.loading import one_line_errors, quiet_loading

PATCH_PX = 14
TRAINED_INPUT_PX = 518
HEAD_WIDTH = 64  # of one attention head, in every DINOv2
# By the encoder's layers, after which of them V2 looks; V1 takes the last four.
V2_LAYERS = {12: (3, 6, 9, 12), 24: (5, 12, 18, 24)}
_POSITION_OFFSET = 0.1  # patches; DINOv2's own, against rounding
_BLOCK = re.compile(r'pretrained\.blocks\.\d+\.norm1\.weight')
_SHA256 = re.compile(r'sha256=([0-9a-f]{64})')


class OriginalNetwork(Network):
    """Depth Anything with its authors' preparation of images."""

    def __init__(
        self, model: DepthAnythingForDepthEstimation, source: Published, input_size: int
    ) -> None:
        super().__init__(model, None, source.kind)
        self.input_size, self.version = input_size, source.version
        embeddings = model.backbone.embeddings
        embeddings.interpolate_pos_encoding = functools.partial(_positions, embeddings)

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) -> (1, 3, h, w): the shorter side `input_size`, both multiples of 14.

        torch's bicubic interpolation is OpenCV's INTER_CUBIC, which the authors call.
        """
        scale = max(self.input_size / n for n in rgb.shape[:2])
        size = [round(n * scale / PATCH_PX) * PATCH_PX for n in rgb.shape[:2]]
        image = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
        image = torch.nn.functional.interpolate(image, size, mode='bicubic', align_corners=False)
        mean, std = (torch.tensor(c).view(3, 1, 1) for c in _COLOURS)
        return (image - mean) / std

    def maps(self, rgb: np.ndarray, **_: Any) -> Tensor:
        return resized(self.run(self.pixels(rgb)), rgb.shape[:2], corners=self.version == 2)


_COLOURS = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def load_original(path: str, *, dtype: torch.dtype | None, input_size: int) -> OriginalNetwork:
    """Loads a file of the authors, from a path, a URL with `#sha256=`, or a published name.

    Raises:
        DepthError: what cannot be found or read, is something else, or holds more than tensors.
    """
    source = published(path)
    what = f'depth model {path!r}'
    state = _read(path, source, what)
    layers = sum(bool(_BLOCK.fullmatch(str(name))) for name in state)
    if layers not in V2_LAYERS:
        raise DepthError(f'{what}: an encoder of {layers} layers; wanted ViT-S, B (12) or L (24)')
    names = authors_names(layers)
    _check_names(state, names, what)
    with one_line_errors(f'{what} is not Depth Anything', DepthError):
        config = _config_of(state, source, layers)
        renamed = {
            ours: part.contiguous()
            for theirs, many in names.items()
            for ours, part in zip(many, state[theirs].chunk(len(many)), strict=True)
        }
        with quiet_loading():
            model = DepthAnythingForDepthEstimation.from_pretrained(
                None,
                config=config,
                state_dict=renamed,
                dtype=dtype or torch.float32,
                trust_remote_code=False,
            )
    return OriginalNetwork(model.eval(), source, input_size)


def authors_names(layers: int) -> dict[str, tuple[str, ...]]:
    """The authors' name of each tensor, and transformers' (three for queries, keys and values)."""
    names: dict[str, str | tuple[str, ...]] = {
        'pretrained.cls_token': 'backbone.embeddings.cls_token',
        'pretrained.mask_token': 'backbone.embeddings.mask_token',
        'pretrained.pos_embed': 'backbone.embeddings.position_embeddings',
    }
    pairs = {
        'pretrained.patch_embed.proj': 'backbone.embeddings.patch_embeddings.projection',
        'pretrained.norm': 'backbone.layernorm',
        'depth_head.scratch.output_conv1': 'head.conv1',
        'depth_head.scratch.output_conv2.0': 'head.conv2',
        'depth_head.scratch.output_conv2.2': 'head.conv3',
    }
    for i in range(layers):
        theirs, ours = f'pretrained.blocks.{i}.', f'backbone.encoder.layer.{i}.'
        names |= {f'{theirs}ls{n}.gamma': f'{ours}layer_scale{n}.lambda1' for n in (1, 2)}
        pairs |= {theirs + same: ours + same for same in ('norm1', 'norm2', 'mlp.fc1', 'mlp.fc2')}
        pairs[f'{theirs}attn.proj'] = f'{ours}attention.output.dense'
        for part in ('weight', 'bias'):
            names[f'{theirs}attn.qkv.{part}'] = tuple(
                f'{ours}attention.attention.{one}.{part}' for one in ('query', 'key', 'value')
            )
    for i in range(4):
        level, fusion = f'neck.reassemble_stage.layers.{i}', f'neck.fusion_stage.layers.{3 - i}'
        theirs = f'depth_head.scratch.refinenet{i + 1}'
        pairs[f'depth_head.projects.{i}'] = f'{level}.projection'
        if i != 2:  # which keeps its size
            pairs[f'depth_head.resize_layers.{i}'] = f'{level}.resize'
        names[f'depth_head.scratch.layer{i + 1}_rn.weight'] = f'neck.convs.{i}.weight'
        pairs[f'{theirs}.out_conv'] = f'{fusion}.projection'
        for unit in (1, 2):
            for conv in (1, 2):
                ours = f'{fusion}.residual_layer{unit}.convolution{conv}'
                pairs[f'{theirs}.resConfUnit{unit}.conv{conv}'] = ours
    for theirs, ours in pairs.items():
        names |= {f'{theirs}.{part}': f'{ours}.{part}' for part in ('weight', 'bias')}
    return {name: (many,) if isinstance(many, str) else many for name, many in names.items()}


def _read(path: str, source: Published, what: str) -> dict[str, Tensor]:
    """The file's tensors by name; nothing in it is run."""
    if is_url(path) or (not Path(path).exists() and path == file_name(path)):
        return _checked(what, _download(path, source, what))
    if not Path(path).is_file():
        raise DepthError(f'{what}: no such file')
    with one_line_errors(f'{what} cannot be loaded', DepthError):
        if not zipfile.is_zipfile(path):
            raise DepthError(f'{what}: not a whole file of torch.save')
        with _tensors_alone(what):
            return _checked(what, torch.load(path, map_location='cpu', weights_only=True))


def _download(path: str, source: Published, what: str) -> object:
    """From a URL, checked against a SHA-256: the one that it ends with, or that of its name."""
    url, hashed = urldefrag(path)
    given = _SHA256.fullmatch(hashed.lower())
    if hashed and not given:
        raise DepthError(f'{what}: ends with #{hashed}; wanted #sha256= and 64 hexadecimal digits')
    name = file_name(url)
    sha256 = given[1] if given else source.sha256
    stem, suffix = name.rsplit('.', 1)
    kept = Path(torch.hub.get_dir(), 'checkpoints', f'{stem}-{sha256}.{suffix}')
    # torch compares what it downloads with the hash in the file's name, but not what it kept.
    if kept.is_file() and _sha256_of(kept) != sha256:
        raise DepthError(f'{what}: {kept}, kept from a download, was changed since; delete it')
    # It also prints where it downloads to.
    with (
        one_line_errors(f'{what} cannot be downloaded', DepthError),
        _tensors_alone(what),
        contextlib.redirect_stdout(sys.stderr),
    ):
        return torch.hub.load_state_dict_from_url(
            url if is_url(url) else source.place + name,
            map_location='cpu',
            progress=sys.stderr.isatty(),
            check_hash=True,
            file_name=kept.name,
            weights_only=True,
        )


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


@contextlib.contextmanager
def _tensors_alone(what: str) -> Iterator[None]:
    """torch's own words for this tell people to load such a file with its code."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise DepthError(
            f'{what}: holds more than tensors, so that loading it could run code; it is not read'
        ) from error


def _checked(what: str, state: object) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DepthError(f"{what}: not a state dict, which has a tensor by each layer's name")
    return state


def _check_names(state: dict[str, Tensor], names: dict[str, tuple[str, ...]], what: str) -> None:
    for found, wanted, fault in ((state, names, 'lacks'), (names, state, 'has unknown')):
        off = sorted(map(str, wanted.keys() - found.keys()))
        if off:
            raise DepthError(f'{what}: {fault} {len(off)} tensors, {off[0]} first')


def _config_of(state: dict[str, Tensor], source: Published, layers: int) -> DepthAnythingConfig:
    """The configuration that fits the tensors' shapes."""
    width = state['pretrained.cls_token'].shape[-1]
    head = 'depth_head.scratch.output_conv'
    backbone = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        mlp_ratio=state['pretrained.blocks.0.mlp.fc1.weight'].shape[0] // width,
        image_size=PATCH_PX * math.isqrt(state['pretrained.pos_embed'].shape[1] - 1),
        patch_size=PATCH_PX,
        out_indices=[
            *(V2_LAYERS[layers] if source.version == 2 else range(layers - 3, layers + 1))
        ],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    return DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=PATCH_PX,
        reassemble_hidden_size=width,
        neck_hidden_sizes=[state[f'depth_head.projects.{i}.weight'].shape[0] for i in range(4)],
        fusion_hidden_size=state[f'{head}1.weight'].shape[1],
        head_hidden_size=state[f'{head}2.0.weight'].shape[0],
        depth_estimation_type=source.kind,
        max_depth=source.max_depth_m or 1,
    )


def _positions(embeddings: torch.nn.Module, tokens: Tensor, height: int, width: int) -> Tensor:
    """The encoder's positions for an image of height x width pixels, (1, 1 + patches, D).

    DINOv2 stretches them by a factor that is a tenth of a patch too large, and learned to see so;
    transformers stretches them exactly, which moves the last ones by a tenth of a patch.
    """
    learned = embeddings.position_embeddings
    side = math.isqrt(learned.shape[1] - 1)
    rows, columns = height // PATCH_PX, width // PATCH_PX
    if rows == columns == side:
        return learned
    grid = learned[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = tuple((n + _POSITION_OFFSET) / side for n in (rows, columns))
    grid = torch.nn.functional.interpolate(grid, scale_factor=factors, mode='bicubic')
    grid = grid.flatten(2).transpose(1, 2).to(learned.dtype)
    return torch.cat([learned[:, :1], grid], dim=1)
