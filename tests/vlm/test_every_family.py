"""Every family alike: as transformers without merging, and with merging on both roads."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import whole_models
from safetensors.torch import save_file
from transformers.models.smolvlm.processing_smolvlm import (
    get_image_prompt_string as smolvlm_string,
)

from tosa_ros.errors import MergingError
from tosa_ros.merging import NoMerging, ToFu, ToMe, ToSA
from tosa_ros.vlm import FAMILIES, Answerer, VisionEncoder
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.prompt import Prompt
from tosa_ros.vlm.untrained import LAYOUTS, write_checkpoint

QUESTION = 'How many mugs are on the desk?'
OTHERS = ('What is near?', 'Which chair is nearer to the door?')


@pytest.fixture(scope='module', params=[*FAMILIES, 'llava with DINOv2'])
def path(request, tmp_path_factory):
    path, kind = tmp_path_factory.mktemp('family') / 'model', request.param
    with pytest.MonkeyPatch.context() as patch:
        if kind not in FAMILIES:
            kind = 'llava'
            patch.setitem(LAYOUTS, kind, replace(LAYOUTS[kind], tower='dinov2'))
        return write_checkpoint(path, family=kind, seed=3)


@pytest.fixture(scope='module')
def encoder(path):
    return VisionEncoder.from_pretrained(path, merging=NoMerging(), dtype=torch.float32)


@pytest.fixture(scope='module')
def answerer(path):
    return Answerer.from_pretrained(path, dtype=torch.float32)


def with_method(encoder, method):
    encoder.merging = method
    return encoder


@pytest.mark.parametrize('count', [1, 3])
def test_without_merging_it_is_transformers_model(path, encoder, answerer, make_frame, count):
    """Logits, and the words that follow, also through the tower that could merge."""
    frames = [make_frame(seed) for seed in range(count)]
    whole = whole_models.whole(path)
    inputs = whole_models.inputs_of(encoder, answerer, frames, QUESTION)
    with torch.inference_mode():
        expected = whole(**inputs).logits[0, -1]
        said = whole.generate(**inputs, max_new_tokens=8, do_sample=False)[0]
    said = said[inputs['input_ids'].shape[1] :]
    tokens = with_method(encoder, NoMerging()).encode(frames)
    ours = whole_models.logits(answerer, tokens, QUESTION)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    answer = answerer.answer(tokens, QUESTION, max_new_tokens=8)
    assert answer.text == answerer.prompt.text_of(said.tolist()).strip()
    assert answer.prompt_tokens == inputs['input_ids'].shape[1]


def test_embeddings_are_those_of_transformers_bit_for_bit(path, encoder, answerer, make_frame):
    frames = [make_frame(0), make_frame(1)]
    inputs = whole_models.inputs_of(encoder, answerer, frames, QUESTION)
    names = ('pixel_values', 'image_grid_thw', 'image_sizes')
    model = whole_models.whole(path).model
    if hasattr(model.config, 'image_grid_pinpoints'):
        pytest.skip(
            'transformers gives no embeddings without the newline; the logits are compared'
        )
    with torch.inference_mode():
        own = model.get_image_features(**{n: inputs[n] for n in names if n in inputs})
    own = torch.cat([image.flatten(0, -2) for image in own.pooler_output])
    tokens = with_method(encoder, ToSA(keep=1.0, where='output')).encode(frames)
    ours = torch.cat([one.embeddings[:, : own.shape[-1]] for one in tokens])
    assert torch.equal(ours, own)


def test_keeping_all_tokens_changes_no_bit(encoder, make_frame):
    frames = [make_frame(0), make_frame(1)]
    plain = with_method(encoder, NoMerging()).encode(frames)
    for road in encoder.family.roads:
        kept = with_method(encoder, ToSA(keep=1.0, where=road)).encode(frames)
        for one, other in zip(plain, kept, strict=True):
            assert torch.equal(one.embeddings, other.embeddings)
            assert other.source.tolist() == list(range(other.before))


@pytest.mark.parametrize('keep', [0.5, 0.25, 0.1])
@pytest.mark.parametrize('method', [ToSA, ToMe, ToFu])
def test_keep_is_met_on_both_roads(encoder, make_frame, method, keep):
    frame = make_frame(0)
    for road in encoder.family.roads:
        [tokens] = with_method(encoder, method(keep=keep, where=road)).encode([frame])
        assert abs(len(tokens) - keep * tokens.before) <= 1
        assert tokens.before == encoder.image_input.grid(80, 60).patches
        assert tokens.before % tokens.columns == 0
        assert tokens.spatial == 'metric'
        assert np.isfinite(tokens.xyz).any()
        if method is not ToFu:
            assert tokens.size.sum() == tokens.before
            assert set(tokens.source) == set(range(len(tokens)))


def test_a_merged_token_is_the_mean_of_its_own(encoder, make_frame):
    """Also of DeepStack's features, which lie beside the embedding."""
    frame = make_frame(0)
    [plain] = with_method(encoder, NoMerging()).encode([frame])
    [merged] = with_method(encoder, ToSA(keep=0.3, where='output')).encode([frame])
    for token in range(len(merged)):
        mean = plain.embeddings[merged.source == token].mean(dim=0)
        torch.testing.assert_close(merged.embeddings[token], mean, rtol=1e-4, atol=1e-5)


def test_depth_decides_at_the_output_too(encoder, make_frame):
    frame = make_frame(0)
    sources = [
        with_method(encoder, ToSA(keep=0.3, alpha=alpha, where='output')).encode([frame])[0].source
        for alpha in (1.0, 0.0)
    ]
    assert not np.array_equal(*sources)


def test_roads_are_said(encoder):
    encoder.merging = ToMe()
    assert encoder.road(encoder.merging) == encoder.family.roads[0]
    if 'tower' not in encoder.family.roads:
        with pytest.raises(MergingError, match=r"^where: 'tower', but .*; wanted 'auto' or 'out"):
            encoder.merging = ToMe(where='tower')
    with pytest.raises(MergingError, match=r'^proportional: off, but tokens merge at the'):
        encoder.merging = ToMe(where='output', proportional=False)


def test_frames_of_several_sizes_encode_as_alone(encoder, make_frame):
    frames = [make_frame(0), make_frame(1, 60, 80), make_frame(2, depth=None), make_frame(3)]
    for road in encoder.family.roads:
        with_method(encoder, ToSA(keep=0.3, where=road))
        for frame, tokens in zip(frames, encoder.encode(frames), strict=True):
            [alone] = encoder.encode([frame])
            assert np.array_equal(alone.source, tokens.source)
            torch.testing.assert_close(alone.embeddings, tokens.embeddings, rtol=1e-4, atol=1e-4)


def test_more_frames_than_it_was_trained_on_share_positions(encoder, answerer, make_frame):
    with_method(encoder, ToSA(keep=0.5, where=encoder.family.roads[-1]))
    [image] = encoder.encode([make_frame(0)])
    builder = answerer.builder
    own, three = builder.rows([image] * 3, QUESTION), builder.rows([image] * 7, QUESTION)
    assert own.note == three.note == ''
    builder.trained_frames = 3
    try:
        same, shared = builder.rows([image] * 3, QUESTION), builder.rows([image] * 7, QUESTION)
        answer = answerer.answer([image] * 7, QUESTION, max_new_tokens=1)
    finally:
        builder.trained_frames = None
    assert torch.equal(same.positions, own.positions)
    assert same.note == ''
    assert answer.note == shared.note
    assert shared.note == '7 frames share the positions of 3, as many as the model was trained on'
    assert torch.equal(shared.embeds, three.embeds)
    # Images 0..2, 3..4 and 5..6 have the positions of three images; the words behind them too.
    rows = [[image_rows for _, image_rows in each.token_rows] for each in (own, shared)]
    for number, slot in enumerate((0, 0, 0, 1, 1, 2, 2)):
        assert torch.equal(shared.positions[rows[1][number]], own.positions[rows[0][slot]])
    behind = len(own) - max(rows[0][2]) - 1
    assert torch.equal(shared.positions[-behind:], own.positions[-behind:])


@pytest.fixture(scope='module')
def requests_of(encoder):
    def requests(make_frame):
        with_method(encoder, ToSA(keep=0.5, where=encoder.family.roads[-1]))
        one, two = encoder.encode([make_frame(0)]), encoder.encode([make_frame(1), make_frame(2)])
        return [(one, QUESTION), (two, OTHERS[0]), (two, OTHERS[1])]

    return requests


def test_a_batch_answers_as_one_by_one(answerer, requests_of, make_frame):
    requests = requests_of(make_frame)
    alone = [answerer.answer(*request, max_new_tokens=8).text for request in requests]
    assert [g.text for g in answerer.answer_batch(requests, max_new_tokens=8)] == alone
    # These two begin alike, so that what they share is read once.
    assert [g.text for g in answerer.answer_batch(requests[1:], max_new_tokens=8)] == alone[1:]
    assert len(set(alone)) > 1


def test_pieces_of_a_stream_are_the_answer(answerer, requests_of, make_frame):
    request = requests_of(make_frame)[0]
    whole = answerer.answer(*request, max_new_tokens=8).text
    assert ''.join(answerer.stream(*request, max_new_tokens=8)) == whole


def test_a_known_prefix_gives_the_same_answers(path, answerer, requests_of, make_frame):
    [_, (tokens, _), _] = requests_of(make_frame)
    known = [answerer.answer(tokens, q, max_new_tokens=8).text for q in (*OTHERS, OTHERS[0])]
    fresh = [
        Answerer.from_pretrained(path, dtype=torch.float32).answer(tokens, q, max_new_tokens=8)
        for q in (*OTHERS, OTHERS[0])
    ]
    assert known == [generation.text for generation in fresh]


def test_each_half_has_its_own_tensors_alone(encoder, answerer):
    halves = [dict(part.named_parameters()) for part in (encoder.half, answerer.model)]
    assert not any('language_model' in n or 'text_model' in n or 'lm_head' in n for n in halves[0])
    assert not any('vis' in n or 'connector' in n or 'projector' in n for n in halves[1])
    assert all(parameter.device.type == 'cpu' for half in halves for parameter in half.values())


@pytest.mark.parametrize('size', [(200, 120), (120, 200)])
def test_tokens_lie_where_their_pixels_come_from(encoder, size):
    """Red grows with the column and green with the row of a frame's pixels."""
    width, height = size
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rgb = np.stack([u, v, np.full_like(u, 255)], axis=2).astype(np.uint8)
    grid = encoder.image_input.grid(width, height)
    means = 127.5 * (token_means(encoder.image_input.pixels(rgb), grid) + 1)
    inside = means[:, 2] > 254
    assert inside.sum() >= 8
    # The processors' antialiasing smears what a token of few pixels sees.
    torch.testing.assert_close(means[inside, :2], grid.centres[inside] - 0.5, atol=5, rtol=0)


def token_means(pixels, grid):
    """Mean colour (N, 3) of the pixels behind each token."""
    if pixels.dim() == 2:  # four patches of two copies of 8 x 8 pixels a token
        return pixels.view(grid.patches, 4, 3, 2, 64).mean(dim=(1, 3, 4))
    side = pixels.shape[1] // grid.rows, pixels.shape[2] // grid.cols
    return torch.nn.functional.avg_pool2d(pixels, side).flatten(1).T


def test_a_token_tells_most_of_its_own_pixels(encoder, make_frame):
    """So the model's tokens are in the order of the grid."""
    family, rgb = encoder.family, make_frame(0, 96, 96).rgb
    grid = encoder.image_input.grid(96, 96)
    pixels = encoder.image_input.pixels(rgb)
    if encoder.tower is not None:
        encoder.tower.method = NoMerging()
    with torch.inference_mode():
        plain, *others = (
            family.embed(encoder.half, encoder.tower, [one], [grid])[0]
            for one in (pixels, *(spoilt(pixels, grid, token) for token in range(grid.patches)))
        )
    changed = torch.stack([(other - plain).norm(dim=-1) for other in others]).argmax(dim=1)
    right = (changed == torch.arange(grid.patches)).float().mean()
    assert right > 0.7, changed


def spoilt(pixels, grid, token):
    """The same pixels, but for those behind one token."""
    other = pixels.clone()
    if pixels.dim() == 2:
        other[4 * token : 4 * token + 4] += 1.0
        return other
    tall, wide = pixels.shape[1] // grid.rows, pixels.shape[2] // grid.cols
    row, column = divmod(token, grid.cols)
    other[:, row * tall : (row + 1) * tall, column * wide : (column + 1) * wide] += 1.0
    return other


def test_newer_names_of_tensors_load_the_same(path, encoder, answerer, make_frame, tmp_path):
    """transformers writes the names that checkpoints of old have, and itself has newer ones."""
    other = tmp_path / 'newer'
    shutil.copytree(path, other)
    newer = {name: one.contiguous() for name, one in whole_models.whole(path).state_dict().items()}
    save_file(newer, other / 'model.safetensors', metadata={'format': 'pt'})
    merged = ToSA(keep=0.5)
    texts = []
    for one, two in (
        (encoder, answerer),
        (
            VisionEncoder.from_pretrained(other, dtype=torch.float32),
            Answerer.from_pretrained(other, dtype=torch.float32),
        ),
    ):
        tokens = with_method(one, merged).encode([make_frame(0)])
        texts.append(two.answer(tokens, QUESTION, max_new_tokens=8).text)
    assert texts[0] == texts[1]


@pytest.mark.parametrize('name', whole_models.PROCESSORS)
@pytest.mark.parametrize('size', [(80, 60), (61, 127), (640, 480)])
def test_pixels_and_grid_are_those_of_the_own_processor(tmp_path, make_frame, name, size):
    path = write_checkpoint(tmp_path / name, family=name)
    kind, changes = whole_models.PROCESSORS[name]
    rgb = make_frame(0, *size).rgb
    own = kind.from_pretrained(path)(images=[rgb], return_tensors='pt', **changes)
    image_input = Checkpoint.open(path).family.image_input()
    ours = image_input.pixels(rgb)
    pixels = own['pixel_values'].float().reshape(ours.shape)
    torch.testing.assert_close(ours, pixels, rtol=0, atol=1e-6)
    grid = image_input.grid(*size)
    if 'image_grid_thw' in own:
        assert own['image_grid_thw'].tolist() == [[1, 2 * grid.rows, 2 * grid.cols]]
    if name == 'mistral3':
        assert own['image_sizes'].tolist() == [[16 * grid.rows, 16 * grid.cols]]


WRITTEN = {
    'internvl': ('<IMG_CONTEXT>', '<img><IMG_CONTEXT></img>'),
    'gemma3': (
        '<start_of_image>',
        '\n\n<start_of_image><image_soft_token><end_of_image>\n\n',
    ),
    'idefics3': (
        '<image>',
        smolvlm_string(0, 0, 1, '<fake_token_around_image>', '<image>', '<global-img>'),
    ),
    'smolvlm': (
        '<image>',
        smolvlm_string(0, 0, 1, '<fake_token_around_image>', '<image>', '<global-img>'),
    ),
}


@pytest.mark.parametrize('name', WRITTEN)
def test_markers_around_an_image_are_the_processors(tmp_path, name):
    family = Checkpoint.open(write_checkpoint(tmp_path / name, family=name)).family
    placeholder, written = WRITTEN[name]
    text = f'a {placeholder} b {placeholder}?'
    assert family.write(text) == f'a {written} b {written}?'
    assert Prompt.of(family.checkpoint).ids(QUESTION, 2).count(family.image_token_id) == 2
