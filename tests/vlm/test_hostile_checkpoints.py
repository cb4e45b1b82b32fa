"""Checkpoints that are malformed, of other kinds, or lead outside of their folder: one line."""

from __future__ import annotations

import json
import shutil

import pytest

from tosa_ros.depth import MonocularDepth
from tosa_ros.errors import DepthError, ModelError
from tosa_ros.pipeline import VqaPipeline


@pytest.fixture
def spoilt(checkpoints, tmp_path):
    """A copy of a checkpoint with changes to its config.json, below a part of it if named."""

    def make(changes, part=None, file='config.json'):
        path = tmp_path / 'model'
        shutil.copytree(checkpoints['llava_onevision'], path)
        config = json.loads((path / file).read_text())
        (config if part is None else config[part]).update(changes)
        (path / file).write_text(json.dumps(config))
        return path

    return make


@pytest.mark.parametrize(
    ('changes', 'part', 'said'),
    [
        ({'model_type': 'llava_qwen'}, None, r"'llava_qwen', which is not supported.*ends in -hf"),
        ({'model_type': 'blip-2'}, None, r'wanted one of llava \(LLaVA-1.5\)'),
        ({'model_type': 7}, None, 'cannot be loaded|not supported'),
        ({'patch_size': 0}, 'vision_config', 'cannot be loaded|patch_size is 0'),
        ({'hidden_size': 'x'}, 'vision_config', 'cannot be loaded'),
        ({'num_attention_heads': 0}, 'vision_config', 'cannot be loaded'),
        ({'image_size': 10**9}, 'vision_config', 'other shapes than its configuration says'),
        ({'hidden_size': 10**12}, 'text_config', 'cannot be loaded'),
        ({'num_attention_heads': 0}, 'text_config', 'cannot be loaded'),
        (
            {'quantization_config': {'quant_method': 'bitsandbytes', 'load_in_4bit': True}},
            None,
            r'cannot be loaded: .*(bitsandbytes|GPU|accelerate)',
        ),
        ({'quantization_config': {'quant_method': 'awq'}}, None, 'cannot be loaded'),
        ({'dtype': 'float1'}, None, 'cannot be loaded'),
    ],
)
def test_a_malformed_configuration_is_one_line(spoilt, changes, part, said):
    with pytest.raises(ModelError, match=said) as refused:
        VqaPipeline.from_pretrained(spoilt(changes, part))
    assert '\n' not in str(refused.value)


def with_index(path, name):
    (path / 'model.safetensors').unlink()
    index = {'metadata': {}, 'weight_map': {'model.image_newline': name, 'lm_head.weight': name}}
    (path / 'model.safetensors.index.json').write_text(json.dumps(index))
    return path


@pytest.mark.parametrize('kind', ['above', 'absolute', 'link'])
def test_an_index_leads_to_no_file_outside(spoilt, tmp_path, kind):
    path = spoilt({})
    outside = tmp_path / 'outside.safetensors'
    shutil.copy(path / 'model.safetensors', outside)
    name = {'above': '../outside.safetensors', 'absolute': str(outside), 'link': 'a.safetensors'}
    if kind == 'link':
        (path / 'a.safetensors').symlink_to(outside)
    with pytest.raises(ModelError, match='which is not in its folder'):
        VqaPipeline.from_pretrained(with_index(path, name[kind]))


@pytest.mark.parametrize('text', ['[]', '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_an_odd_index_is_one_line(spoilt, text):
    path = spoilt({})
    (path / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(ModelError, match='no index of weights'):
        VqaPipeline.from_pretrained(path)


def test_a_hub_s_cache_may_link_to_its_blobs(spoilt, tmp_path):
    from tosa_ros.loading import check_shards

    snapshot = tmp_path / 'models--a' / 'snapshots' / 'commit'
    blobs = tmp_path / 'models--a' / 'blobs'
    blobs.mkdir(parents=True)
    shutil.copytree(spoilt({}), snapshot)
    shutil.move(snapshot / 'model.safetensors', blobs / '1234')
    (snapshot / 'a.safetensors').symlink_to(blobs / '1234')
    index = {'weight_map': {'lm_head.weight': 'a.safetensors'}}
    (snapshot / 'model.safetensors.index.json').write_text(json.dumps(index))
    check_shards(str(snapshot), ModelError)


def test_a_depth_model_s_index_is_looked_at_too(tmp_path):
    (tmp_path / 'model.safetensors.index.json').write_text('{"weight_map": {"a": "../b"}}')
    with pytest.raises(DepthError, match='which is not in its folder'):
        MonocularDepth.from_pretrained(tmp_path)
