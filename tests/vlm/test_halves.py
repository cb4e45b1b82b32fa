"""Both halves against transformers' own model on the same checkpoint, and how they load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from tosa_ros.errors import ModelError, QuestionError, SpatialError
from tosa_ros.merging import NoMerging, PiToMe, ToFu, ToMe, ToSA
from tosa_ros.vlm import Answerer, VisionEncoder
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.image_input import ImageInput

QUESTION = 'How many mugs are on the desk?'


def reference_logits(path, frames, pixels, ids):
    """transformers' own forward pass, called in the ordinary way, one tile an image."""
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()
    config = model.config
    tower = config.vision_config
    per_image = (tower.image_size // tower.patch_size) ** 2
    extra = {}
    if config.model_type != 'llava':
        per_image += 1  # image_newline
        # A pinpoint of 0 x 0 has no tiles beside the base image.
        config.image_grid_pinpoints = [[0, 0]]
        extra['image_sizes'] = torch.tensor([[f.height, f.width] for f in frames])
        pixels = pixels[:, None]
    if config.model_type == 'llava_onevision':
        extra['batch_num_images'] = torch.tensor([len(frames)])
    expanded = []
    for i in ids:
        expanded += [i] * (per_image if i == config.image_token_id else 1)
    with torch.no_grad():
        return model(input_ids=torch.tensor([expanded]), pixel_values=pixels, **extra).logits[0]


@pytest.mark.parametrize('count', [1, 3])
def test_without_merging_logits_equal_those_of_transformers(checkpoint, make_frame, count):
    frames = [make_frame(seed) for seed in range(count)]
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=NoMerging(), dtype=torch.float32)
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    embeds = answerer.embed(encoder.encode(frames), QUESTION)
    with torch.no_grad():
        logits = answerer.model(inputs_embeds=embeds[None]).logits[0]
    pixels = torch.stack([encoder.image_input.pixels(f.rgb) for f in frames])
    expected = reference_logits(
        checkpoint, frames, pixels, answerer.prompt.ids(QUESTION, len(frames))
    )
    assert logits.shape == expected.shape
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('size', [(80, 60), (60, 80), (48, 48), (131, 57)])
def test_pixels_equal_those_of_the_family_s_processor(checkpoints, make_frame, size):
    images = [make_frame(s, *size).rgb for s in (1, 2)]
    own = {
        'llava': lambda p: (
            CLIPImageProcessorPil.from_pretrained(p)(images, return_tensors='pt').pixel_values
        ),
        'llava_next': lambda p: LlavaNextImageProcessorPil.from_pretrained(p)(
            images, return_tensors='pt'
        ).pixel_values[:, 0],
        'llava_onevision': lambda p: LlavaOnevisionImageProcessorPil.from_pretrained(p)(
            [images], return_tensors='pt'
        ).pixel_values[:, 0],
    }
    for family, path in checkpoints.items():
        image_input = Checkpoint.open(path).family.image_input()
        pixels = torch.stack([image_input.pixels(image) for image in images])
        torch.testing.assert_close(pixels, own[family](path).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize('size', [(80, 60), (60, 80), (131, 57)])
def test_the_patch_grid_lies_where_the_tower_looks(checkpoints, size):
    """A bright square in the image lights up the patches whose boxes contain it."""
    width, height = size
    for path in checkpoints.values():
        image_input = Checkpoint.open(path).family.image_input()
        grid = image_input.grid(width, height)
        side = image_input.side
        for row in range(side):
            for col in range(side):
                u, v = (round(float(x)) for x in grid.centres[row * side + col])
                if not (6 <= u < width - 6 and 6 <= v < height - 6):
                    continue
                rgb = np.zeros((height, width, 3), np.uint8)
                rgb[v - 3 : v + 4, u - 3 : u + 4] = 255
                pixels = image_input.pixels(rgb)[0]
                if image_input.fit == 'pad':
                    pixels = torch.where(pixels < 0.2, -1.0, pixels)
                patch = image_input.patch_size
                light = (pixels + 1).reshape(side, patch, side, patch).sum(dim=(1, 3))
                assert int(light.argmax()) == row * side + col


@pytest.mark.parametrize('image_size', [48, 52])
@pytest.mark.parametrize('fit', ['stretch', 'crop', 'pad'])
@pytest.mark.parametrize('size', [(200, 120), (120, 200)])
def test_patches_lie_where_their_pixels_come_from(fit, size, image_size):
    """Also where patches do not divide the input, as 14 does not divide SigLIP's 384."""
    settings = {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3, 'resample': 2}
    image_input = ImageInput(settings, fit, image_size, 8)
    width, height = size
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rgb = np.stack([u, v, np.full_like(u, 255)], axis=2).astype(np.uint8)
    seen = 127.5 * (image_input.pixels(rgb) + 1)
    # The tower's patches: a convolution of stride 8, which leaves out what is beyond the last.
    means = torch.nn.functional.avg_pool2d(seen, 8).flatten(1).T
    inside = means[:, 2] > 254
    assert inside.sum() >= 12
    centres = torch.as_tensor(image_input.grid(width, height).centres, dtype=torch.float32)
    torch.testing.assert_close(means[inside, :2], centres[inside] - 0.5, atol=1.5, rtol=0)


def test_a_number_as_size_is_the_shortest_edge():
    given = {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3, 'resample': 3, 'crop_size': 48}
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    old, new = (
        ImageInput({**given, 'size': size}, 'crop', 48, 8).pixels(rgb)
        for size in (56, {'shortest_edge': 56})
    )
    assert torch.equal(old, new)


@pytest.mark.parametrize('method', [ToMe, ToFu, ToSA, PiToMe])
def test_merged_tokens_describe_themselves(checkpoint, make_frame, method):
    frames = [make_frame(0), make_frame(1, depth=None), make_frame(2, 64, 64)]
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=method(keep=0.25))
    for frame, tokens in zip(frames, encoder.encode(frames), strict=True):
        assert (len(tokens), tokens.before) == (9, 36)
        assert tokens.embeddings.shape == (9, 32)
        assert tokens.uv.shape == (9, 2)
        assert tokens.rgb.dtype == np.uint8
        assert tokens.stamp == frame.stamp
        has_depth = frame.depth_m is not None
        assert tokens.spatial == ('metric' if has_depth else 'none')
        assert np.isfinite(tokens.xyz).any() == has_depth
        if has_depth:
            k = frame.intrinsics
            known = np.isfinite(tokens.xyz).all(axis=1) & (tokens.size == 1)
            x, y, z = tokens.xyz[known].T
            inside = np.stack([x / z * k.fx + k.cx, y / z * k.fy + k.cy], axis=1)
            np.testing.assert_allclose(inside, tokens.uv[known], atol=0.05)


def test_a_frame_encodes_the_same_alone_and_among_others(checkpoint, make_frame):
    frames = [
        make_frame(0),
        make_frame(1, depth=None),
        make_frame(2, depth='relative'),
        make_frame(3, camera=False),
        make_frame(4, 64, 48),
    ]
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=ToSA(keep=0.3))
    together = encoder.encode(frames)
    assert [t.spatial for t in together] == ['metric', 'none', 'levels', 'levels', 'metric']
    for frame, tokens in zip(frames, together, strict=True):
        alone = encoder.encode([frame])[0]
        assert np.array_equal(alone.source, tokens.source)
        torch.testing.assert_close(alone.embeddings, tokens.embeddings, rtol=1e-4, atol=1e-5)


def test_metric_tokens_of_relative_depth_are_refused(checkpoint, make_frame):
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=ToSA(spatial='metric'))
    with pytest.raises(SpatialError, match='needs depth in metres'):
        encoder.encode([make_frame(depth='relative')])
    with pytest.raises(SpatialError, match='needs intrinsics'):
        encoder.encode([make_frame(camera=False)])


# Ours is the layout of transformers 4.51 and before; 4.52 and later, and 5, write others.
LAYOUTS = {
    'short': {'vision_tower.vision_model.': 'vision_tower.'},
    'nested in model': {
        'language_model.model.': 'model.language_model.',
        'language_model.lm_head.': 'lm_head.',
        'vision_tower.': 'model.vision_tower.',
        'multi_modal_projector.': 'model.multi_modal_projector.',
        'image_newline': 'model.image_newline',
    },
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_other_layouts_load_the_same(checkpoint, make_frame, tmp_path, layout):
    other = tmp_path / 'other'
    shutil.copytree(checkpoint, other)
    renamed = {}
    for key, value in load_file(other / 'model.safetensors').items():
        old = next((old for old in LAYOUTS[layout] if key.startswith(old)), None)
        renamed[key if old is None else LAYOUTS[layout][old] + key.removeprefix(old)] = value
    assert set(renamed) != set(load_file(other / 'model.safetensors'))
    save_file(renamed, other / 'model.safetensors', metadata={'format': 'pt'})
    answers = []
    for path in (checkpoint, other):
        tokens = VisionEncoder.from_pretrained(path).encode([make_frame()])
        answers.append(Answerer.from_pretrained(path).answer(tokens, QUESTION, max_new_tokens=9))
    assert answers[0].text == answers[1].text


def test_a_sharded_checkpoint_loads_the_same(checkpoint, make_frame, tmp_path):
    sharded = tmp_path / 'sharded'
    shutil.copytree(checkpoint, sharded, ignore=shutil.ignore_patterns('*.safetensors'))
    model = AutoModelForImageTextToText.from_pretrained(checkpoint)
    model.save_pretrained(sharded, max_shard_size='60KB')
    assert len(list(sharded.glob('*.safetensors'))) > 2
    texts = set()
    for path in (checkpoint, sharded):
        tokens = VisionEncoder.from_pretrained(path).encode([make_frame()])
        texts.add(Answerer.from_pretrained(path).answer(tokens, QUESTION).text)
    assert len(texts) == 1


PEAK = """
import resource, sys
from tosa_ros.vlm import Answerer, VisionEncoder
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for half in sys.argv[2:]:
    kept = {'vision': VisionEncoder, 'language': Answerer}[half].from_pretrained(sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_each_half_takes_only_its_own_memory(tmp_path):
    """Peak memory of loading one half stays well below that of the whole checkpoint."""
    from tosa_ros.vlm import untrained

    size = untrained.Size(
        {**untrained.SIZES['tiny'].vision, 'hidden_size': 512, 'intermediate_size': 6144},
        {
            **untrained.SIZES['tiny'].text,
            'hidden_size': 512,
            'intermediate_size': 12288,
        },
        1024,
    )
    untrained.SIZES['memory test'] = size
    try:
        path = untrained.write_checkpoint(tmp_path / 'c', size='memory test')
    finally:
        del untrained.SIZES['memory test']
    tensors = load_file(path / 'model.safetensors')
    mib = {'vision': 0.0, 'language': 0.0}
    for key, value in tensors.items():
        half = 'language' if 'language_model' in key or 'lm_head' in key else 'vision'
        mib[half] += value.nbytes / 2**20
    assert min(mib.values()) > 80
    for half, own in mib.items():
        run = subprocess.run(
            [sys.executable, '-c', PEAK, str(path), half],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, 'HF_HUB_OFFLINE': '1'},
        )
        peak = float(run.stdout)
        print(f'{half}: {peak:.0f} MiB at peak for {own:.0f} MiB of weights')
        assert peak < own + 0.5 * min(mib.values())


def test_one_by_one_and_batched_answers_are_the_same(checkpoint, make_frame):
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=ToSA(keep=0.5))
    answerer = Answerer.from_pretrained(checkpoint)
    requests = [
        (encoder.encode([make_frame(0)]), 'What is on the table?'),
        (encoder.encode([make_frame(1), make_frame(2)]), 'Which chair is nearer to the door?'),
        (encoder.encode([make_frame(3)]), 'Why?'),
    ]
    together = [g.text for g in answerer.answer_batch(requests, max_new_tokens=12)]
    alone = [answerer.answer(*request, max_new_tokens=12).text for request in requests]
    assert together == alone
    assert len(set(alone)) == 3


def test_generation_equals_transformers_generate(checkpoint, make_frame):
    answerer = Answerer.from_pretrained(checkpoint)
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=NoMerging())
    tokens = encoder.encode([make_frame(7)])
    embeds = answerer.embed(tokens, QUESTION)[None]
    ids = answerer.model.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2]),
        max_new_tokens=20,
        do_sample=False,
    )[0]
    expected = answerer.prompt.tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert answerer.answer(tokens, QUESTION, max_new_tokens=20).text == expected


def test_streamed_pieces_add_up_and_stop(checkpoint, make_frame):
    answerer = Answerer.from_pretrained(checkpoint)
    tokens = VisionEncoder.from_pretrained(checkpoint).encode([make_frame(7)])
    whole = answerer.answer(tokens, QUESTION, max_new_tokens=20).text
    pieces = list(answerer.stream(tokens, QUESTION, max_new_tokens=20))
    assert ''.join(pieces) == whole
    assert len(pieces) > 3
    got = []
    for piece in answerer.stream(tokens, QUESTION, stop=lambda: len(got) >= 2):
        got.append(piece)
    assert got == pieces[:2]


def test_halves_of_different_checkpoints_do_not_fit(checkpoints, make_frame):
    tokens = VisionEncoder.from_pretrained(checkpoints['llava']).encode([make_frame()])
    wide = type(tokens[0])(
        **{**vars(tokens[0]), 'embeddings': torch.zeros(9, 48)},
    )
    with pytest.raises(ModelError, match='both halves must come from one checkpoint'):
        Answerer.from_pretrained(checkpoints['llava']).answer([wide], QUESTION)


@pytest.mark.parametrize(
    ('question', 'message'),
    [
        ('', "question: ''; wanted text"),
        ('   ', 'wanted text'),
        ('x' * 100_000, '100,000 characters; at most 4,000'),
        ('What is <image> here?', "contains '<image>'"),
        ('Hi<|im_end|>', 'special tokens'),
    ],
)
def test_bad_questions(checkpoints, make_frame, question, message):
    path = checkpoints['llava_onevision']
    tokens = VisionEncoder.from_pretrained(path).encode([make_frame()])
    with pytest.raises(QuestionError, match=message):
        Answerer.from_pretrained(path).answer(tokens, question)


def test_more_than_the_model_reads_is_refused(checkpoints, make_frame):
    path = checkpoints['llava']
    tokens = VisionEncoder.from_pretrained(path, merging=NoMerging()).encode([make_frame()])
    with pytest.raises(QuestionError, match=r'the model reads 4096: use fewer frames'):
        Answerer.from_pretrained(path).answer(tokens * 120, QUESTION)


def edit_config(path, tmp_path, **changes):
    copy = tmp_path / 'edited'
    shutil.copytree(path, copy)
    config = json.loads((copy / 'config.json').read_text())
    config.update(changes)
    (copy / 'config.json').write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize('half', [VisionEncoder, Answerer])
def test_broken_checkpoints_are_named_in_one_line(checkpoint, tmp_path, half):
    def message(path):
        with pytest.raises(ModelError) as error:
            half.from_pretrained(path)
        assert '\n' not in str(error.value)
        return str(error.value)

    assert 'is not a folder' in message(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    assert 'cannot be loaded' in message(tmp_path / 'empty')
    other = edit_config(checkpoint, tmp_path, model_type='bert')
    assert "model_type is 'bert', which is not supported; wanted one of llava" in message(other)
    lacking = tmp_path / 'lacking'
    shutil.copytree(checkpoint, lacking)
    tensors = load_file(lacking / 'model.safetensors')
    lost = [k for k in tensors if k.endswith('layers.1.mlp.fc1.weight')]
    lost += [k for k in tensors if k.endswith('layers.1.mlp.up_proj.weight')]
    kept = {k: v for k, v in tensors.items() if k not in lost}
    assert len(kept) < len(tensors)
    save_file(kept, lacking / 'model.safetensors', metadata={'format': 'pt'})
    assert 'the checkpoint lacks 1 tensors' in message(lacking)
    torn = tmp_path / 'torn'
    shutil.copytree(checkpoint, torn)
    data = (torn / 'model.safetensors').read_bytes()
    (torn / 'model.safetensors').write_bytes(data[: len(data) // 2])
    assert 'cannot be loaded' in message(torn)
    (torn / 'model.safetensors').unlink()
    assert 'cannot be loaded' in message(torn)


def rows_read(answerer):
    """How many prompt rows each forward pass of the language model reads, times the batch."""
    read = []
    answerer.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(
            (
                kwargs['input_ids']
                if kwargs.get('inputs_embeds') is None
                else kwargs['inputs_embeds']
            )
            .shape[:2]
            .numel()
        ),
        with_kwargs=True,
    )
    return read


def test_the_same_frames_are_read_once(checkpoint, make_frame):
    frames = [make_frame(0), make_frame(1)]
    tokens = VisionEncoder.from_pretrained(checkpoint, merging=ToSA(keep=0.5)).encode(frames)
    answerer = Answerer.from_pretrained(checkpoint)
    questions = ['How many mugs?', 'Which chair is nearer?', 'How many mugs?']
    fresh = [
        Answerer.from_pretrained(checkpoint).answer(tokens, q, max_new_tokens=8).text
        for q in questions
    ]
    read = rows_read(answerer)
    for i, question in enumerate(questions):
        read.clear()
        generation = answerer.answer(tokens, question, max_new_tokens=8)
        assert generation.text == fresh[i]
        assert (read[0] == generation.prompt_tokens) == (i == 0)
        assert i == 0 or read[0] < generation.prompt_tokens - 36
    read.clear()
    batch = answerer.answer_batch([(tokens, q) for q in questions], max_new_tokens=8)
    assert [g.text for g in batch] == fresh
    assert read[0] <= 3 * (max(g.prompt_tokens for g in batch) - 36)
    assert answerer.answer(tokens[::-1], questions[0], max_new_tokens=8).prompt_tokens > 36


def test_an_abandoned_stream_leaves_nothing_behind(checkpoint, make_frame):
    tokens = VisionEncoder.from_pretrained(checkpoint).encode([make_frame(0)])
    answerer = Answerer.from_pretrained(checkpoint)
    whole = ''.join(answerer.stream(tokens, QUESTION, max_new_tokens=12))
    for _ in range(2):
        stream = answerer.stream(tokens, QUESTION, max_new_tokens=12)
        next(stream)
        # Another question comes in between, while the first stream is still open.
        answerer.answer(tokens, 'Why?', max_new_tokens=4)
        stream.close()
        assert answerer.answer(tokens, QUESTION, max_new_tokens=12).text == whole


@pytest.mark.parametrize('method', [NoMerging(), ToMe(keep=0.3), ToFu(keep=0.3)], ids=repr)
def test_tokens_keep_the_position_of_their_middle_patch(checkpoint, make_frame, method):
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=method)
    for tokens in encoder.encode([make_frame(0), make_frame(1)]):
        expected = []
        for slot in range(len(tokens)):
            members = [p for p in range(36) if tokens.source[p] == slot]
            expected.append(members[(len(members) - 1) // 2])
        assert tokens.middle_patches() == expected
    answerer = Answerer.from_pretrained(checkpoint)
    rows = answerer.builder.rows([tokens], QUESTION)
    before = answerer.prompt.ids(QUESTION, 1).index(answerer.prompt.image_token_id)
    words = [*range(before), *(before + p for p in expected)]
    after = len(rows) - len(words)
    words += [before + 36 + i for i in range(after)]
    assert rows.positions.tolist() == words


def test_positions_are_packed_where_the_model_cannot_count_that_far(checkpoints, make_frame):
    path = checkpoints['llava']
    tokens = VisionEncoder.from_pretrained(path, merging=ToMe(keep=0.25)).encode([make_frame()])
    answerer = Answerer.from_pretrained(path)
    fits, exceeds = (
        answerer.builder.rows(tokens * 100, 'x'),
        answerer.builder.rows(tokens * 120, 'x'),
    )
    assert int(fits.positions.max()) > 3600
    assert exceeds.positions.tolist() == list(range(len(exceeds)))
    assert fits.note == ''
    assert exceeds.note == (
        'image tokens stand one behind the other: with their own positions the prompt is longer '
        'than the 4096 that the model reads'
    )
