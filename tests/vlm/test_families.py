"""Families behind one interface: nobody else names them, and other shapes have a room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tosa_ros.vlm
from tosa_ros.errors import ModelError
from tosa_ros.merging import ToMe
from tosa_ros.vlm import FAMILIES, Answerer, VisionEncoder
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.families import family_of
from tosa_ros.vlm.families.llava_onevision import LlavaOnevision
from tosa_ros.vlm.prompt import Prompt

QUESTIONS = ['How many mugs?', 'What colour is the chair that stands behind the table?']


def test_only_a_familys_own_module_names_it():
    folder = Path(tosa_ros.vlm.__file__).parent
    words = [word for name, family in FAMILIES.loaded().items() for word in (name, family.title)]
    for path in folder.glob('*.py'):
        # They make checkpoints of each.
        if not path.name.startswith('untrained'):
            text = path.read_text()
            assert not [word for word in words if f"'{word}'" in text], path


def test_an_unsupported_model_type_is_one_line_with_those_supported():
    with pytest.raises(ModelError) as caught:
        family_of('bert', 'models/bert')
    said = str(caught.value)
    assert said.startswith("models/bert: its model_type is 'bert', which is not supported")
    assert 'llava_onevision (LLaVA-OneVision)' in said
    assert '\n' not in said


class Axes(LlavaOnevision):
    """Positions with three axes, as models with rotary axes of time, row and column have."""

    def at(self, place):
        return (place, 2 * place, place)

    def read(self, model, positions, images, **inputs):
        assert positions.shape[-1] == 3
        assert positions.shape[:2] == next(iter(inputs.values())).shape[:2]
        assert images.shape[1] >= positions.shape[1]
        return super().read(model, positions[..., 0], images, **inputs)


def answerers(path, context=None):
    """The same checkpoint by its own family, and by one whose positions have axes."""
    checkpoint = Checkpoint.open(path)
    for family in (checkpoint.family, Axes(checkpoint)):
        model = family.load_language('cpu', torch.float32)
        if context is not None:
            model.config.max_position_embeddings = context
        yield Answerer(model, Prompt.of(checkpoint), family)


@pytest.mark.parametrize('context', [None, 120])
def test_positions_may_have_axes(checkpoints, make_frame, context):
    """Alone, with a prefix that is known, streamed, in a padded batch, and packed."""
    path = checkpoints['llava_onevision']
    encoder = VisionEncoder.from_pretrained(path, merging=ToMe(keep=0.5), dtype=torch.float32)
    tokens = encoder.encode([make_frame(0), make_frame(1)])
    texts = []
    for answerer in answerers(path, context):
        requests = [(tokens, question) for question in QUESTIONS]
        alone = [answerer.answer(*r, max_new_tokens=6).text for r in requests]
        batch = [g.text for g in answerer.answer_batch(requests, max_new_tokens=6)]
        streamed = ''.join(answerer.stream(tokens, QUESTIONS[0], max_new_tokens=6))
        assert batch == alone
        assert streamed == alone[0]
        texts.append(alone)
    assert texts[0] == texts[1]
