"""Every encoder that tokens can be merged in, beside the model library's own forward.

    python -m benchmarks.adapters --doc docs/merging.md

Tiny encoders with random weights, two images of 6 x 6 patches. difference: of the last layer's
tokens, if every layer runs as the two halves between which tokens merge; float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from benchmarks.measuring import parser, report, setup
from benchmarks.timm_alone import timm
from tosa_ros.merging import ToSA
from tosa_ros.vision import Adapter, adapter_for, merge_tokens

SIZE = {
    'hidden_size': 48,
    'intermediate_size': 64,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'image_size': 48,
    'patch_size': 8,
}
RATIO = {**{k: v for k, v in SIZE.items() if k != 'intermediate_size'}, 'mlp_ratio': 2}
SQUARE = {**SIZE, 'image_size': [48, 48], 'patch_size': [8, 8]}
PATCHES = 36


def _of(name: str, size: dict[str, Any] = SIZE, config: str = '', **more: Any) -> nn.Module:
    """A model of transformers, by its name and its configuration's."""
    config = config or f'{name.removesuffix("Model")}Config'
    return getattr(transformers, name)(getattr(transformers, config)(**{**size, **more}))


def _timm(name: str) -> nn.Module:
    """A model of timm, with its own blocks and tokens but the size of the others."""
    size = {'img_size': 48, 'patch_size': 8, 'embed_dim': 48, 'depth': 4, 'num_heads': 4}
    return timm().create_model(name, pretrained=False, num_classes=0, **size)


MAKES: dict[str, Callable[[], nn.Module]] = {
    'siglip': lambda: _of('SiglipVisionModel'),
    'siglip2': lambda: _of('Siglip2VisionModel', num_patches=PATCHES),
    'idefics3': lambda: _of('Idefics3VisionTransformer', config='Idefics3VisionConfig'),
    'smolvlm': lambda: _of('SmolVLMVisionTransformer', config='SmolVLMVisionConfig'),
    'clip': lambda: _of('CLIPVisionModel'),
    'dinov2': lambda: _of('Dinov2Model', RATIO),
    'dinov2_registers': lambda: _of('Dinov2WithRegistersModel', RATIO, num_register_tokens=4),
    'dinov3': lambda: _of('DINOv3ViTModel', num_register_tokens=4, layerscale_value=0.5),
    'dinov3_gated': lambda: _of('DINOv3ViTModel', num_register_tokens=0, use_gated_mlp=True),
    'radio': lambda: _of('RadioModel', RATIO, mlp_ratio=2.0, max_img_size=96, num_registers=3),
    'vit': lambda: _of('ViTModel'),
    'deit': lambda: _of('DeiTModel'),
    'ijepa': lambda: _of('IJepaModel'),
    'internvit': lambda: _of('InternVLVisionModel', SQUARE),
    'internvit_6b': lambda: _of(
        'InternVLVisionModel', SQUARE, use_qk_norm=True, norm_type='rms_norm'
    ),
    'aimv2': lambda: _of('Aimv2VisionModel'),
    'timm_vit': lambda: _timm('vit_tiny_patch16_224'),
    'timm_so400m': lambda: _timm('vit_so400m_patch14_siglip_384'),
    'timm_registers': lambda: _timm('vit_betwixt_patch16_reg4_gap_256'),
    'timm_dinov2': lambda: _timm('vit_small_patch14_reg4_dinov2'),
    'timm_eva02': lambda: _timm('eva02_tiny_patch14_224'),
    'timm_dinov3': lambda: _timm('vit_small_patch16_dinov3'),
    'timm_rope_mixed': lambda: _timm('vit_base_patch16_rope_mixed_224'),
}


def made(name: str) -> nn.Module:
    """The encoder of this name, its weights all random, those that begin as ones or zeros too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MAKES[name]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.15)
    return model


def pixels(name: str, batch: int = 2) -> dict[str, Tensor]:
    """What the encoder of this name is called with: images of 48 x 48 pixels."""
    noise = torch.Generator().manual_seed(5)
    if name == 'siglip2':
        return {
            'pixel_values': torch.randn(batch, PATCHES, 3 * 8 * 8, generator=noise),
            'pixel_attention_mask': torch.ones(batch, PATCHES, dtype=torch.long),
            'spatial_shapes': torch.tensor([[6, 6]] * batch),
        }
    images = torch.randn(batch, 3, 48, 48, generator=noise)
    return {'x': images} if name.startswith('timm') else {'pixel_values': images}


@torch.no_grad()
def last_tokens(model: nn.Module, adapter: Adapter, inputs: dict[str, Tensor]) -> Tensor:
    """What the last layer gives."""
    seen: list[Tensor] = []
    hook = adapter.layers[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    model(**inputs)
    hook.remove()
    return seen[0]


def in_halves(model: nn.Module, adapter: Adapter, inputs: dict[str, Tensor]) -> Tensor:
    """The same with every layer run as its two halves."""

    def forward(layer: nn.Module, x: Tensor, *_: Any, **kwargs: Any) -> Tensor:
        for mask in ('attention_mask', 'attn_mask'):
            kwargs.pop(mask, None)
        return adapter.feed(layer, adapter.attend(layer, x, None, **kwargs))

    for layer in adapter.layers:
        layer.forward = lambda *args, layer=layer, **kwargs: forward(layer, *args, **kwargs)
    try:
        return last_tokens(model, adapter, inputs)
    finally:
        for layer in adapter.layers:
            del layer.forward


def main(argv: list[str] | None = None) -> int:
    args = parser(__doc__, repeats=1).parse_args(argv)
    setup(args)
    rows = []
    for name in MAKES:
        model, inputs = made(name), pixels(name)
        adapter = adapter_for(model)
        own = last_tokens(model, adapter, inputs)
        row = {
            'encoder': adapter.title,
            'class or name': getattr(model, 'pretrained_cfg', {}).get('architecture')
            or type(model).__name__,
            'never merge': adapter.protected,
            'difference': f'{float((in_halves(model, adapter, inputs) - own).abs().max()):.0e}',
            'of values up to': round(float(own.abs().max()), 1),
        }
        for keep in (0.5, 0.25, 0.1):
            with merge_tokens(model, ToSA(keep=keep)) as merged, torch.no_grad():
                row[f'keep {keep}'] = merged(**inputs).tokens.shape[1]
        rows.append(row)
    report('adapters', args, rows)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
