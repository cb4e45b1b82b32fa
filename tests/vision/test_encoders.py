"""merge_tokens on real encoder classes with random weights: parity off, and correct on."""

from __future__ import annotations

import copy

import pytest
import torch
from reference import merging as slow
from reference.surfaces import surfaces
from samples import SMALL
from torch import nn
from towers import timm_or_skip, tower
from transformers import (
    BeitConfig,
    BeitModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
)
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from benchmarks import adapters
from benchmarks.adapters import in_halves, last_tokens, pixels
from tosa_ros.errors import VisionError
from tosa_ros.merging import NoMerging, PiToMe, ToFu, ToMe, ToSA
from tosa_ros.spatial import PatchGrid, metric_tokens, stack
from tosa_ros.vision import ADAPTERS, Adapter, adapter_for, merge_tokens, supported
from tosa_ros.vision.adapters import hook

PROTECTED = {
    'clip': 1,
    'dinov2': 1,
    'dinov2_registers': 5,
    'dinov3': 5,
    'dinov3_gated': 1,
    'radio': 6,
    'vit': 1,
    'deit': 2,
    'internvit': 1,
    'internvit_6b': 1,
    'timm_vit': 1,
    'timm_registers': 4,
    'timm_dinov2': 5,
    'timm_eva02': 1,
    'timm_dinov3': 5,
    'timm_rope_mixed': 1,
}
# One of each kind: without class tokens, with a mask, class and register tokens, rotary, timm's.
KINDS = ['siglip', 'siglip2', 'dinov2_registers', 'dinov3', 'timm_dinov2']
METHODS = [ToMe, ToFu, PiToMe, ToSA]


@pytest.fixture(params=adapters.MAKES)
def every(request):
    return request.param, tower(request.param)


@pytest.fixture(params=KINDS)
def named(request):
    return request.param, tower(request.param)


def last_state(output):
    return output if isinstance(output, torch.Tensor) else output.last_hidden_state


def views(batch=2, size=48):
    """Depth maps, camera and grid of a batch."""
    g = torch.Generator().manual_seed(1)
    maps = torch.rand(batch, size, size, generator=g) + 1
    maps[:, :, size // 2 :] += 2
    maps[:, : size // 6, : size // 3] = float('nan')
    grid = PatchGrid.over(6, 6, size, size)
    return maps, torch.tensor([40.0, 40.0, size / 2, size / 2]), grid


def spatial(batch=2, size=48):
    maps, camera, grid = views(batch, size)
    return stack([metric_tokens(m, camera, grid) for m in maps])


@torch.no_grad()
@pytest.mark.parametrize('method', [NoMerging(), ToMe(keep=1.0), ToSA(keep=1.0)], ids=repr)
def test_keeping_all_tokens_changes_no_bit(every, method):
    name, model = every
    expected = last_state(model(**pixels(name)))
    with merge_tokens(model, method) as merged:
        result = merged(**pixels(name), spatial=spatial())
        assert torch.equal(last_state(result.output), expected)
        assert torch.equal(result.source, torch.arange(36).expand(2, -1))
        assert (result.size == 1).all()


def test_a_layer_is_its_two_halves(every):
    name, model = every
    adapter, inputs = adapter_for(model), pixels(name)
    assert adapter.protected == PROTECTED.get(name, 0)
    own = last_tokens(model, adapter, inputs)
    torch.testing.assert_close(in_halves(model, adapter, inputs), own, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_remove_gives_the_encoder_back(every):
    name, model = every
    expected = last_state(model(**pixels(name)))
    keys = set(model.state_dict())
    merged = merge_tokens(model, ToMe(keep=0.3))
    assert set(model.state_dict()) == keys
    model(**pixels(name))
    assert merged.latest.tokens.shape[1] == 11
    merged.remove()
    assert torch.equal(last_state(model(**pixels(name))), expected)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any('forward' in vars(module) for module in model.modules())


def keys_by_head(model, seen):
    """(T, heads, head_dim), from (T, heads * head_dim) or timm's (heads, T, head_dim)."""
    if seen.ndim == 3:
        return seen.transpose(0, 1)
    return seen.view(len(seen), model.config.num_attention_heads, -1)


def by_token(kwargs, tokens):
    """A layer's arguments with each table of rotary positions taken at tokens' middle patches."""
    middle, taken = [t['patches'][(len(t['patches']) - 1) // 2] for t in tokens], {}
    if kwargs.get('position_embeddings') is not None:
        taken['position_embeddings'] = [table[middle] for table in kwargs['position_embeddings']]
    if kwargs.get('rope') is not None:
        taken['rope'] = kwargs['rope'][..., middle, :]
    return {**kwargs, **taken}


def slow_encoder(model, adapter, x, kwargs, method, places):
    """One image through the encoder, layer by layer, with explicit softmax and slow merging."""
    protected, layers = adapter.protected, adapter.layers
    head, tokens = x[:protected], slow.start(x[protected:].tolist(), places)
    plan = method.removals(len(tokens), len(layers))
    for index, layer in enumerate(layers):
        rows = torch.cat([head, torch.tensor([t['x'] for t in tokens])])[None]
        seen = []
        tap = adapter.tap(layer, seen.append)
        size = torch.tensor([1.0] * protected + [t['size'] for t in tokens])
        bias = size.log().expand(1, 1, len(size), len(size))
        rows = adapter.attend(layer, rows, bias, **by_token(kwargs[index], tokens))[0]
        tap.remove()
        keys = keys_by_head(model, seen[0][0])[protected:]
        head = rows[:protected]
        for token, row in zip(tokens, rows[protected:].tolist(), strict=True):
            token['x'] = row
        tokens = slow.layer(
            tokens, keys.tolist(), method, plan[index], index, len(layers), 'metric', protected
        )
        rows = adapter.feed(layer, torch.cat([head, torch.tensor([t['x'] for t in tokens])])[None])
        head = rows[0, :protected]
        for token, row in zip(tokens, rows[0, protected:].tolist(), strict=True):
            token['x'] = row
    return slow.raster(tokens)


def what_layers_get(model, inputs):
    """The tokens that the first layer is given, and every layer's keyword arguments."""
    seen = []

    def see(layer, args, kwargs):
        masks = ('attention_mask', 'attn_mask')
        seen.append((args[0], {k: v for k, v in kwargs.items() if k not in masks}))

    layers = adapter_for(model).layers
    taps = [layer.register_forward_pre_hook(see, with_kwargs=True) for layer in layers]
    model(**inputs)
    for tap in taps:
        tap.remove()
    return seen[0][0], [kwargs for _, kwargs in seen]


@torch.no_grad()
@pytest.mark.parametrize('method', METHODS)
def test_merging_equals_the_slow_encoder(every, method):
    name, model = every
    method = method(keep=0.3)
    batch = spatial()
    inputs, kwargs = what_layers_get(model, pixels(name))
    with merge_tokens(model, method) as merged:
        result = merged(**pixels(name), spatial=batch)
        adapter = merged.adapter
    assert result.tokens.shape == (2, 11, 48)
    assert result.class_tokens.shape[1] == PROTECTED.get(name, 0)
    for b in range(2) if name in KINDS else [1]:
        maps, camera, grid = views()
        places = surfaces(maps[b], camera, grid)
        expected = slow_encoder(model, adapter, inputs[b], kwargs, method, places)
        for slot, token in enumerate(expected):
            assert (result.source[b] == slot).nonzero()[:, 0].tolist() == token['patches']
            points = batch.points[b, token['patches']]
            points = points[points.isfinite().all(dim=1)]
            want = points.mean(dim=0) if len(points) else torch.full((3,), float('nan'))
            torch.testing.assert_close(
                result.xyz[b, slot], want, equal_nan=True, rtol=1e-5, atol=1e-5
            )
        want = torch.tensor([t['x'] for t in expected])
        torch.testing.assert_close(result.tokens[b], want, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_size_weights_the_keys(named):
    """Proportional attention: merging identical tokens changes nothing for the others."""
    name, model = named
    with merge_tokens(model, ToMe(keep=0.5)) as merged:
        with_size = merged(**pixels(name)).tokens
        merged.method = ToMe(keep=0.5, proportional=False)
        without = merged(**pixels(name)).tokens
    assert not torch.allclose(with_size, without, atol=1e-4)


@torch.no_grad()
def test_identical_images_merge_exactly():
    """An image of one colour and no position: every merge is lossless, so is the class token."""
    torch.manual_seed(0)
    model = CLIPVisionModel(CLIPVisionConfig(**SMALL)).eval()
    model.embeddings.position_embedding.weight[1:] = model.embeddings.position_embedding.weight[1]
    image = torch.ones(1, 3, 48, 48)
    expected = model(image).last_hidden_state
    with merge_tokens(model, ToMe(keep=0.1)) as merged:
        result = merged(image)
    torch.testing.assert_close(
        result.output.last_hidden_state[:, 0], expected[:, 0], rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize('method', METHODS)
def test_autocast_and_half_precision_keep_shape_and_type(named, method):
    name, model = named
    with merge_tokens(model, method(keep=0.25)) as merged:
        full = merged(**pixels(name), spatial=spatial()).tokens
        with torch.autocast('cpu', dtype=torch.bfloat16):
            mixed = merged(**pixels(name), spatial=spatial())
        assert mixed.tokens.shape == full.shape
        assert mixed.size.dtype == torch.float32
        model.bfloat16()
        inputs = {k: v.bfloat16() if v.is_floating_point() else v for k, v in pixels(name).items()}
        half = merged(**inputs, spatial=spatial())
        assert half.tokens.dtype == torch.bfloat16
        assert half.tokens.isfinite().all()


@torch.no_grad()
def test_compiled_encoder_gives_the_same_tokens(named):
    name, model = named
    inputs = pixels(name)
    if name == 'siglip2':
        inputs['pixel_attention_mask'] = None
    with merge_tokens(model, ToSA(keep=0.3)) as merged:
        expected = merged(**inputs, spatial=spatial())
        merged.model = torch.compile(model, backend='aot_eager', fullgraph=True)
        got = merged(**inputs, spatial=spatial())
    torch.testing.assert_close(got.tokens, expected.tokens, rtol=1e-4, atol=1e-5)
    assert torch.equal(got.source, expected.source)
    torch._dynamo.reset()


@torch.no_grad()
def test_hidden_states_are_recorded_with_their_lengths():
    torch.manual_seed(0)
    model = SiglipVisionModel(SiglipVisionConfig(**SMALL)).eval()
    with merge_tokens(model, ToMe(r=4)) as merged:
        result = merged(pixels('siglip')['pixel_values'], output_hidden_states=True)
    assert [h.shape[1] for h in result.output.hidden_states] == [36, 32, 28, 24, 20]
    assert torch.equal(result.output.hidden_states[-1], result.tokens)


@pytest.mark.parametrize('method', [ToMe, ToFu, PiToMe, ToSA])
def test_gradients_flow_through_merging(method):
    torch.manual_seed(0)
    model = SiglipVisionModel(SiglipVisionConfig(**SMALL)).eval()
    with merge_tokens(model, method(keep=0.3)) as merged:
        merged(pixels('siglip')['pixel_values'], spatial=spatial()).tokens.sum().backward()
    assert model.encoder.layers[0].self_attn.v_proj.weight.grad.abs().sum() > 0


def test_the_encoder_itself_leaves_its_tokens_in_latest(named):
    name, model = named
    with merge_tokens(model, ToMe(keep=0.3)) as merged, torch.no_grad():
        want = merged(**pixels(name))
        merged.latest = None
        model(**pixels(name))
        assert torch.equal(merged.latest.tokens, want.tokens)
        assert merged.latest.output is None


def test_a_deep_copy_runs_its_own_layers(named):
    name, model = named
    merged = merge_tokens(model, ToMe(keep=0.3))
    merged(**pixels(name)).tokens.sum().backward()
    twin = copy.deepcopy(model)._tosa_merged
    with torch.no_grad():
        want = merged(**pixels(name)).tokens
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(twin(**pixels(name)).tokens, want)
        merged(**pixels(name))
        twin.remove()
        assert not hasattr(twin.model, '_tosa_merged')
        assert merged.latest.tokens.shape[1] == 11


def test_a_method_set_in_the_middle_of_a_run_holds_for_the_next(named):
    name, model = named
    with merge_tokens(model, ToMe(keep=0.3)) as merged, torch.no_grad():
        want = merged(**pixels(name)).tokens
        middle = merged.adapter.layers[1]
        hook = middle.register_forward_hook(lambda *_: setattr(merged, 'method', NoMerging()))
        assert torch.equal(merged(**pixels(name)).tokens, want)
        hook.remove()
        assert merged(**pixels(name)).tokens.shape[1] == 36


def test_unsupported_models_name_what_is():
    with pytest.raises(VisionError, match=r'Linear is not an encoder.*SigLIP.*CLIP.*DINOv2.*timm'):
        merge_tokens(nn.Linear(2, 2), ToMe())
    llava = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**SMALL).to_dict(),
            text_config={
                'model_type': 'llama',
                'hidden_size': 32,
                'intermediate_size': 32,
                'num_hidden_layers': 1,
                'num_attention_heads': 2,
                'num_key_value_heads': 2,
                'vocab_size': 64,
            },
        )
    )
    with pytest.raises(VisionError, match=r"pass its part 'model\.vision_tower'"):
        merge_tokens(llava, ToMe())


def test_encoders_that_cannot_merge_say_why_and_what_to_do():
    qwen = Qwen3VLVisionModel(Qwen3VLVisionConfig(depth=1, hidden_size=32, num_heads=2))
    with pytest.raises(VisionError, match=r'Qwen3VLVisionModel: it joins neigh.*merge_output'):
        merge_tokens(qwen, ToMe())
    swin = SwinModel(SwinConfig(embed_dim=8, depths=[1], num_heads=[1]))
    with pytest.raises(VisionError, match=r'SwinModel: its layers look at windows.*merge_output'):
        merge_tokens(swin, ToMe())
    beit = BeitModel(BeitConfig(**SMALL))
    with pytest.raises(VisionError, match=r'BeitModel: its attention has a learned bias for each'):
        merge_tokens(beit, ToMe())


def test_packed_images_are_refused():
    radio, patches = adapters.made('radio'), torch.randn(36, 3 * 8 * 8)
    grid = torch.tensor([[6, 6]])
    with merge_tokens(radio, ToMe(keep=1.0)) as merged:
        assert merged(patches, image_grid_hw=grid).tokens.shape == (1, 36, 48)
        merged.method = ToMe()
        with pytest.raises(VisionError, match='image_grid_hw: packed images cannot be merged'):
            merged(patches, image_grid_hw=grid)


def test_misuse_is_refused():
    model = adapters.made('siglip')
    with merge_tokens(model, ToMe()) as merged:
        with pytest.raises(VisionError, match='already merges tokens'):
            merge_tokens(model, ToSA())
        with pytest.raises(VisionError, match='2 images of 36 patches, but the encoder sees 1'):
            merged(torch.zeros(1, 3, 48, 48), spatial=spatial())


@torch.no_grad()
@pytest.mark.parametrize('name', ['timm_vit', 'timm_eva02'])
def test_timm_merges_the_same_without_the_fused_kernel(name):
    model = tower(name)
    with merge_tokens(model, ToSA(keep=0.3)) as merged:
        fused = merged(**pixels(name), spatial=spatial())
        for block in model.blocks:
            assert block.attn.fused_attn
            block.attn.fused_attn = False
        written_out = merged(**pixels(name), spatial=spatial())
    assert torch.equal(written_out.source, fused.source)
    torch.testing.assert_close(written_out.tokens, fused.tokens, rtol=1e-4, atol=1e-5)


def test_other_timm_models_are_refused():
    create = timm_or_skip().create_model
    with pytest.raises(VisionError, match='VisionTransformerRelPos: its attention has a learned'):
        merge_tokens(create('vit_relpos_small_patch16_224', depth=1), ToMe())
    with pytest.raises(VisionError, match=r'blocks\.0 is a ParallelThingsBlock without norm1'):
        merge_tokens(create('vit_small_patch16_18x2_224', depth=1), ToMe())
    model = tower('timm_vit')
    with (
        merge_tokens(model, ToMe()) as merged,
        pytest.raises(VisionError, match='is_causal: merged tokens have no order'),
    ):
        merged(**pixels('timm_vit'), is_causal=True)


class Look(nn.Module):
    """Attention that has all of its projections in one, as many encoders do."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.seen = nn.Identity()

    def forward(self, x, attn_mask=None):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, self.seen(k), v, attn_mask=attn_mask)
        return self.proj(x.transpose(1, 2).flatten(2))


class TwoBranches(nn.Module):
    """A user's own encoder: attention and MLP under other names, no class token."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.between = nn.LayerNorm(48), nn.LayerNorm(48)
            self.look = Look(48, 4)
            self.think = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))

        def forward(self, x):
            x = x + self.look(self.before(x))
            return x + self.think(self.between(x))

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 48, 8, 8)
        self.stages = nn.ModuleList([self.Layer() for _ in range(4)])

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        for stage in self.stages:
            x = stage(x)
        return x


class TwoBranchesAdapter(Adapter):
    title = 'two branches'
    names = ('TwoBranches',)

    @property
    def layers(self):
        return list(self.model.stages)

    def attend(self, layer, x, bias, **kwargs):
        return x + layer.look(layer.before(x), attn_mask=bias)

    def feed(self, layer, x):
        return x + layer.think(layer.between(x))

    def tap(self, layer, listener):
        return hook(layer.look.seen, listener)

    def keys(self, layer, projected):
        return projected.transpose(1, 2)


@torch.no_grad()
def test_an_encoder_of_ones_own_takes_an_adapter_of_ones_own():
    torch.manual_seed(0)
    model, image = TwoBranches().eval(), torch.randn(2, 3, 48, 48)
    with pytest.raises(VisionError, match=r'TwoBranches is not .* any other by adapter='):
        merge_tokens(model, ToMe(keep=0.5))
    expected = model(image)
    with merge_tokens(model, NoMerging(), adapter=TwoBranchesAdapter) as merged:
        assert torch.equal(merged(image).tokens, expected)
        merged.method = ToMe(keep=0.5)
        assert merged(image).tokens.shape == (2, 18, 48)
    ADAPTERS.register('two-branches', TwoBranchesAdapter)
    try:
        with merge_tokens(model, ToMe(keep=0.25)) as merged:
            assert merged(image).tokens.shape == (2, 9, 48)
        assert 'two branches (TwoBranches)' in supported()
    finally:
        ADAPTERS.unregister('two-branches')


def test_the_adapter_of_the_nearest_class_counts():
    class Mine(SiglipVisionModel):
        pass

    class MineAdapter(type(adapter_for(adapters.made('siglip')))):
        names = ('Mine',)

    ADAPTERS.register('mine', MineAdapter)
    try:
        assert type(adapter_for(Mine(SiglipVisionConfig(**SMALL)))) is MineAdapter
        assert type(adapter_for(adapters.made('siglip'))) is not MineAdapter
    finally:
        ADAPTERS.unregister('mine')
