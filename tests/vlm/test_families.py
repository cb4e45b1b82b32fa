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
from tosa_ros.vlm.untrained import write_checkpoint

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


@pytest.fixture(scope='module')
def others(tmp_path_factory):
    root = tmp_path_factory.mktemp('others')
    names = ('qwen2_vl', 'qwen3_vl', 'mistral3', 'paligemma')
    return {name: write_checkpoint(root / name, family=name) for name in names}


def image_rows(path, frame, merging):
    """One image's tokens, and the positions of its rows in a prompt, whose first is `start`."""
    [tokens] = VisionEncoder.from_pretrained(path, merging=merging).encode([frame])
    answerer = Answerer.from_pretrained(path)
    rows = answerer.builder.rows([tokens], QUESTIONS[0])
    image = rows.images.bool()
    start = int(image.nonzero()[0])
    after = int(image.nonzero()[-1]) + 1
    return tokens, start, rows.positions[image].tolist(), rows.positions[after].tolist(), rows


def test_a_merged_token_keeps_time_row_and_column_of_its_middle_patch(others, make_frame):
    merging = ToMe(keep=0.4)
    for name in ('qwen2_vl', 'qwen3_vl'):
        tokens, start, places, after, _ = image_rows(others[name], make_frame(0), merging)
        assert (tokens.before, tokens.columns) == (20, 5)
        middles = []
        for token in range(len(tokens)):
            members = [patch for patch in range(20) if tokens.source[patch] == token]
            middles.append(members[(len(members) - 1) // 2])
        assert places == [[start, start + p // 5, start + p % 5] for p in middles]
        # Words go on behind the longer side, as without merging.
        assert after == [start + 5] * 3


def test_lines_of_mistral_end_where_tokens_are_left(others, make_frame):
    whole, start, places, after, rows = image_rows(others['mistral3'], make_frame(0), ToMe(keep=1))
    assert (whole.before, whole.columns) == (12, 4)
    assert places == list(range(start, start + 15))
    assert after == start + 15
    breaks, end = rows.embeds[start + 4], rows.embeds[start + 14]
    assert torch.equal(breaks, rows.embeds[start + 9])
    assert not torch.equal(breaks, end)

    merged, start, places, after, rows = image_rows(
        others['mistral3'], make_frame(0), ToMe(keep=0.2)
    )
    middles = merged.middle_patches()
    lines = {patch // 4 for patch in middles}
    wanted = {start + p // 4 * 5 + p % 4 for p in middles} | {
        start + 5 * r + 4 for r in lines - {2}
    }
    assert len(lines) < 3  # else no break could be left out
    assert places == sorted(wanted | {start + 14})
    assert after == start + 15
    assert torch.equal(rows.embeds[start + len(places) - 1], end)
    for place, embedding in zip(places, rows.embeds[start:], strict=False):
        if place - start - 14 and (place - start) % 5 < 4:
            patch = (place - start) // 5 * 4 + (place - start) % 5
            assert torch.equal(embedding, merged.embeddings[middles.index(patch)])


def test_a_prompt_that_is_read_both_ways_is_read_anew(others, make_frame):
    """Every row of it depends on the question, so nothing is kept."""
    path = others['paligemma']
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    tokens = VisionEncoder.from_pretrained(path, dtype=torch.float32).encode([make_frame(0)])
    answerer.answer(tokens, QUESTIONS[0], max_new_tokens=2)
    keys = answerer.builder.rows(tokens, QUESTIONS[0]).keys
    assert answerer.decoder.prefix.take(keys)[1] == 0
