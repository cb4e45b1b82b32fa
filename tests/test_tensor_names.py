"""Checkpoints have the tensor names that transformers 4, 5 and vLLM read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip('transformers')
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

import tosa_ros.assets
from tosa_ros.tensor_names import published, use_published_names
from tosa_ros.vlm.untrained import write_checkpoint

EMBEDDED = Path(tosa_ros.assets.__file__).parent / 'tiny-vlm'


def names(folder):
    found = set()
    for path in folder.glob('*.safetensors'):
        with safe_open(path, 'pt') as file:
            found |= set(file.keys())
    return found


@pytest.mark.parametrize(
    ('name', 'wanted'),
    [
        ('vision_tower.encoder.x', 'vision_tower.vision_model.encoder.x'),
        ('model.vision_tower.encoder.x', 'model.vision_tower.vision_model.encoder.x'),
        ('vision_tower.vision_model.encoder.x', 'vision_tower.vision_model.encoder.x'),
        ('language_model.model.vision_tower.x', 'language_model.model.vision_tower.x'),
        ('image_newline', 'image_newline'),
    ],
)
def test_only_the_towers_tensors_lie_deeper(name, wanted):
    assert published(name) == wanted
    assert published(wanted) == wanted


def towers(folder):
    return {name for name in names(folder) if 'vision_tower.' in name}


def test_the_embedded_model_has_published_names():
    assert len(towers(EMBEDDED)) > 100
    assert all(name.startswith('vision_tower.vision_model.') for name in towers(EMBEDDED))


@pytest.mark.parametrize('family', ['llava', 'llava_next', 'llava_onevision'])
def test_transformers_reads_every_tensor_of_a_written_checkpoint(tmp_path, family):
    folder = write_checkpoint(tmp_path / 'model', family=family)
    assert all('vision_tower.vision_model.' in name for name in towers(folder))
    model, told = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not told['missing_keys']
    assert not told['unexpected_keys']
    again = AutoModelForImageTextToText.from_pretrained(folder)
    pairs = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_checkpoint_in_parts_and_its_index_agree(tmp_path):
    folder = write_checkpoint(tmp_path / 'model')
    model = AutoModelForImageTextToText.from_pretrained(folder)
    parts = tmp_path / 'parts'
    model.save_pretrained(parts, max_shard_size='200KB')
    use_published_names(parts)
    index = json.loads((parts / 'model.safetensors.index.json').read_text())
    assert len(list(parts.glob('*.safetensors'))) > 1
    assert set(index['weight_map']) == names(parts) == names(folder)
    _, told = AutoModelForImageTextToText.from_pretrained(parts, output_loading_info=True)
    assert not told['missing_keys']


def test_other_models_keep_their_names(tmp_path):
    folder = write_checkpoint(tmp_path / 'model', family='qwen2_vl')
    before = names(folder)
    use_published_names(folder)
    assert names(folder) == before
