"""Weights in fewer bits, other attention, revisions of a hub id, and models over devices."""

from __future__ import annotations

import shutil

import pytest
import torch

pytest.importorskip('torchao')
pytest.importorskip('accelerate')

from torch import nn

from tosa_ros.errors import MissingDependencyError, ModelError
from tosa_ros.merging import NoMerging, ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.settings import chosen_weights
from tosa_ros.vlm import Answerer, VisionEncoder
from tosa_ros.vlm.quantizing import GROUP, INT4_ROWS, Int8Linear
from tosa_ros.vlm.untrained import write_checkpoint
from tosa_ros.vlm.weights import Weights

QUESTION = 'what is there?'


def held_bytes(model: nn.Module) -> int:
    """Memory of a model's weights, as they lie in storages."""
    storages = {}
    for parameter in model.parameters():
        inner, _ = getattr(parameter, '__tensor_flatten__', lambda: ((), None))()
        parts = [getattr(parameter, name) for name in inner] or [parameter]
        storages |= {part.untyped_storage().data_ptr(): part.untyped_storage() for part in parts}
    return sum(storage.nbytes() for storage in storages.values())


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one.float() - other.float()).norm() / other.float().norm()).item()


def logits(answerer: Answerer, tokens) -> torch.Tensor:
    """Behind the prompt of a question."""
    rows = answerer.builder.rows(tokens, QUESTION)
    with torch.inference_mode():
        return answerer.family.read(
            answerer.model,
            rows.positions[None],
            rows.images[None],
            inputs_embeds=rows.embeds[None],
        )


@pytest.mark.parametrize(('kind', 'bound'), [('int8', 0.05), ('int4', 0.7)])
def test_fewer_bits_give_nearly_the_same(checkpoint, make_frame, kind, bound):
    """Random weights add an error to an error; a layer's own is below a twelfth."""
    dtype = torch.bfloat16
    frames = [make_frame()]
    encoders = [
        VisionEncoder.from_pretrained(checkpoint, merging=NoMerging(), dtype=dtype, quantize=q)
        for q in (None, kind)
    ]
    whole, small = (encoder.encode(frames) for encoder in encoders)
    assert 0 < difference(small[0].embeddings, whole[0].embeddings) < bound
    answerers = [
        Answerer.from_pretrained(checkpoint, dtype=dtype, quantize=q) for q in (None, kind)
    ]
    assert 0 < difference(*(logits(a, whole) for a in reversed(answerers))) < bound
    layers = [linear_layers(answerer.model) for answerer in answerers]
    for name, layer in layers[0].items():
        one = torch.eye(layer.in_features, dtype=dtype)
        with torch.inference_mode():
            assert difference(layers[1][name](one), layer(one)) < 1 / 12
    assert answerers[1].answer(whole, QUESTION).new_tokens > 0


@pytest.mark.parametrize(('kind', 'share'), [('int8', 0.5), ('int4', 0.25)])
def test_fewer_bits_take_less_memory(tmp_path_factory, kind, share):
    """Of linear layers; scales take a part of it, a twelfth in int4's groups of 32."""
    path = write_checkpoint(tmp_path_factory.mktemp('small') / 'model', seed=1)
    for load in (
        lambda **how: VisionEncoder.from_pretrained(path, **how).half,
        lambda **how: Answerer.from_pretrained(path, **how).model,
    ):
        whole, small = load(dtype=torch.bfloat16), load(dtype=torch.bfloat16, quantize=kind)
        before, after = (
            sum(
                held_bytes(layer) for name, layer in linear_layers(m).items() if 'head' not in name
            )
            for m in (whole, small)
        )
        assert after < (share + 0.15) * before
        assert held_bytes(small) < held_bytes(whole)


def test_heads_and_embeddings_keep_their_type(checkpoint):
    model = Answerer.from_pretrained(checkpoint, dtype=torch.bfloat16, quantize='int4').model
    assert type(model.get_input_embeddings().weight) is nn.Parameter
    assert type(model.get_output_embeddings().weight) is nn.Parameter
    assert model.get_output_embeddings().weight.dtype == torch.bfloat16


@pytest.mark.parametrize('family', ['qwen2_vl', 'internvl', 'idefics3', 'paligemma', 'mistral3'])
def test_halves_of_whole_models_are_quantised(tmp_path, make_frame, family):
    path = write_checkpoint(tmp_path / family, family=family)
    how = {'dtype': torch.bfloat16, 'quantize': 'int8'}
    encoder = VisionEncoder.from_pretrained(path, merging=ToSA(keep=0.5), **how)
    answerer = Answerer.from_pretrained(path, **how)
    for model in (encoder.half, answerer.model):
        assert any(type(layer) is Int8Linear for layer in linear_layers(model).values())
    assert answerer.answer(encoder.encode([make_frame()]), QUESTION).new_tokens > 0


def test_int4_takes_int8_for_shapes_that_its_kernels_cannot(checkpoint, monkeypatch):
    monkeypatch.setattr('tosa_ros.vlm.quantizing.INT4_ROWS', 48)
    layers = linear_layers(
        Answerer.from_pretrained(checkpoint, dtype=torch.bfloat16, quantize='int4').model
    )
    kinds = {
        (type(m.weight).__name__, m.out_features % 48 == 0 and m.in_features % GROUP == 0)
        for name, m in layers.items()
        if name != 'lm_head'
    }
    assert kinds <= {('Int8Tensor', False), ('Int4OpaqueTensor', True)}
    assert ('Int8Tensor', False) in kinds
    assert INT4_ROWS == 16


@pytest.mark.parametrize('rows', [1, 8, 9, 40])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('bias', [False, True])
def test_few_rows_give_what_many_give(rows, dtype, bias):
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    torch.manual_seed(0)
    layer = nn.Linear(96, 48, bias=bias).to(dtype)
    quantize_(layer, Int8WeightOnlyConfig(set_inductor_config=False))
    x = torch.randn(1, rows, 96, dtype=dtype)
    with torch.inference_mode():
        expected = layer(x)
        layer.__class__ = Int8Linear
        assert layer(x).shape == expected.shape
        assert difference(layer(x), expected) < 0.01


@pytest.mark.parametrize('attention', ['eager', 'sdpa'])
def test_merging_is_the_same_with_every_attention(checkpoint, make_frame, attention):
    """Tokens are weighted by their size whatever computes the attention."""
    how = {'merging': ToSA(keep=0.25), 'dtype': torch.float32}
    usual = VqaPipeline.from_pretrained(checkpoint, **how)
    other = VqaPipeline.from_pretrained(checkpoint, attn_implementation=attention, **how)
    tower = other.encoder.family.tower(other.encoder.half)
    assert tower.config._attn_implementation == attention
    assert other.answerer.model.config._attn_implementation == attention
    frame = make_frame()
    one, two = (p.visual_tokens(frame)[0] for p in (usual, other))
    torch.testing.assert_close(one.embeddings, two.embeddings, atol=1e-4, rtol=1e-4)
    assert usual.ask(frame, QUESTION).text == other.ask(frame, QUESTION).text


@pytest.mark.parametrize('attention', ['flash_attention_2', 'flash_attention_3', 'flex_attention'])
def test_attention_without_a_bias_is_refused_where_tokens_merge(checkpoint, attention):
    wanted = rf"attn_implementation: '{attention}' cannot weight merged tokens.*sdpa or eager"
    with pytest.raises(ModelError, match=wanted):
        VisionEncoder.from_pretrained(checkpoint, attn_implementation=attention)


@pytest.fixture
def hub(tmp_path, monkeypatch, checkpoints):
    """A hub's cache with two revisions of one model, of which `main` is the first."""
    root = tmp_path / 'hub'
    model = root / 'models--someone--tiny'
    first = checkpoints['llava']
    second = write_checkpoint(tmp_path / 'second', family='llava', seed=9)
    for commit, name, path in (('a' * 40, 'main', first), ('b' * 40, 'v2', second)):
        shutil.copytree(path, model / 'snapshots' / commit)
        (model / 'refs').mkdir(exist_ok=True)
        (model / 'refs' / name).write_text(commit)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(root))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    return {'main': first, 'v2': second}


def test_a_revision_is_another_model(hub, make_frame):
    frame = make_frame()
    answers = {
        revision: VqaPipeline.from_pretrained('someone/tiny', revision=revision).ask(
            frame, QUESTION
        )
        for revision in (None, 'v2', 'b' * 40)
    }
    by_path = {name: VqaPipeline.from_pretrained(hub[name]) for name in hub}
    for revision, name in ((None, 'main'), ('v2', 'v2'), ('b' * 40, 'v2')):
        assert answers[revision].text == by_path[name].ask(frame, QUESTION).text
    assert answers[None].text != answers['v2'].text


def test_a_revision_that_is_not_there_is_one_line(hub):
    with pytest.raises(ModelError, match=r"model 'someone/tiny' cannot be loaded: .*") as caught:
        Answerer.from_pretrained('someone/tiny', revision='gone')
    assert '\n' not in str(caught.value)


def test_a_model_is_spread_over_devices(checkpoint, make_frame):
    """Here the disk is the second device: layers are fetched from it as they are read."""
    tokens = VisionEncoder.from_pretrained(checkpoint).encode([make_frame()])
    expected = Answerer.from_pretrained(checkpoint).answer(tokens, QUESTION)
    names = ('model.embed_tokens', 'model.norm', 'model.rotary_emb', 'lm_head')
    spread = dict.fromkeys(names, 'cpu') | {'model.layers.0': 'cpu', 'model.layers.1': 'disk'}
    answerer = Answerer.from_pretrained(checkpoint, device_map=spread)
    assert answerer.model.hf_device_map == spread
    assert next(answerer.model.get_decoder().layers[1].parameters()).device.type == 'meta'
    assert answerer.answer(tokens, QUESTION).text == expected.text


@pytest.mark.parametrize('kind', [None, 'int8'])
def test_the_best_places_are_found(checkpoint, make_frame, kind):
    pipeline = VqaPipeline.from_pretrained(checkpoint, device_map='auto', quantize=kind)
    usual = VqaPipeline.from_pretrained(checkpoint, quantize=kind)
    frame = make_frame()
    assert pipeline.ask(frame, QUESTION).text == usual.ask(frame, QUESTION).text


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ({'quantize': 'int2'}, "quantize: 'int2'; wanted one of int8, int4"),
        ({'quantize': 'none'}, "quantize: 'none'; wanted one of int8, int4, or None"),
        (
            {'attn_implementation': 'fast'},
            "attn_implementation: 'fast'; wanted one of sdpa, eager",
        ),
        ({'attn_implementation': 'someone/kernel'}, 'wanted one of sdpa'),
        ({'revision': ''}, "revision: ''; wanted a branch, tag or commit"),
        ({'device_map': 'everywhere'}, "device_map: 'everywhere'; wanted 'auto'"),
    ],
)
def test_what_cannot_be_is_refused(checkpoints, given, said):
    with pytest.raises(ModelError) as caught:
        Answerer.from_pretrained(checkpoints['llava'], **given)
    assert said in str(caught.value)


def test_int4_is_refused_in_other_types_than_bfloat16(checkpoints):
    with pytest.raises(
        ModelError, match=r"'int4' computes in bfloat16, but dtype is torch.float32"
    ):
        Answerer.from_pretrained(checkpoints['llava'], quantize='int4', dtype=torch.float32)


def test_a_folder_has_no_revision(checkpoints):
    with pytest.raises(ModelError, match=r"revision: 'v1', but '.*' is a folder"):
        VisionEncoder.from_pretrained(checkpoints['llava'], revision='v1')


@pytest.mark.parametrize(
    ('absent', 'given', 'extra'),
    [
        ('torchao', {'quantize': 'int8'}, 'quantize'),
        ('accelerate', {'quantize': 'int8'}, 'quantize'),
        ('accelerate', {'device_map': 'auto'}, 'device-map'),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, absent, given, extra):
    monkeypatch.setattr(
        'tosa_ros.vlm.weights.find_spec', lambda name: None if name == absent else object()
    )
    with pytest.raises(MissingDependencyError, match=rf'{absent}.*tosa_ros\[{extra}\]'):
        Weights(**given)


def test_settings_become_options():
    values = {'quantize': 'int8', 'attn': 'auto', 'revision': '', 'device_map': None, 'keep': 1}
    assert chosen_weights(values) == {'quantize': 'int8'}
    assert chosen_weights({'attn': 'eager', 'revision': 'v1', 'device_map': 'auto'}) == {
        'attn_implementation': 'eager',
        'revision': 'v1',
        'device_map': 'auto',
    }
