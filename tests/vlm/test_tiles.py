"""Frames in tiles: as transformers reads them, and with merging on both roads."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import whole_models
from transformers import AutoModelForImageTextToText
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from tosa_ros.drawing import token_map
from tosa_ros.errors import ModelError
from tosa_ros.merging import NoMerging, ToFu, ToMe, ToSA
from tosa_ros.vlm import FAMILIES, Answerer, VisionEncoder
from tosa_ros.vlm.untrained import write_checkpoint

QUESTION = 'How many mugs are on the desk?'
PAN_AND_SCAN = {
    'do_pan_and_scan': True,
    'pan_and_scan_min_crop_size': 16,
    'pan_and_scan_max_num_crops': 4,
    'pan_and_scan_min_ratio_to_activate': 1.2,
}
# Of each family: its image processor, and what makes it cut images up.
CUTS = {
    'llava_next': (LlavaNextImageProcessorPil, {}),
    'llava_next_video': (LlavaNextImageProcessorPil, {}),
    'llava_onevision': (LlavaOnevisionImageProcessorPil, {}),
    'internvl': (GotOcr2ImageProcessorPil, {'crop_to_patches': True}),
    'idefics3': (Idefics3ImageProcessorPil, {'do_image_splitting': True}),
    'smolvlm': (SmolVLMImageProcessorPil, {'do_image_splitting': True}),
    'gemma3': (Gemma3ImageProcessorPil, PAN_AND_SCAN),
}
ANYRES = ('llava_next', 'llava_next_video', 'llava_onevision')
ODD = [(131, 57), (60, 131), (97, 96), (150, 7), (40, 40)]


def processed(name, path, images):
    kind, changes = CUTS[name]
    more = {'return_row_col_info': True} if name in ('idefics3', 'smolvlm') else {}
    return kind.from_pretrained(path)(images=images, return_tensors='pt', **changes, **more)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A tiny checkpoint of a family whose image processor cuts images up."""
    made = {}

    def write(name):
        if name not in made:
            made[name] = write_checkpoint(tmp_path_factory.mktemp(name) / name, family=name)
            file = made[name] / 'preprocessor_config.json'
            settings = json.loads(file.read_text())
            if name == 'gemma3':
                settings |= {**PAN_AND_SCAN, 'do_pan_and_scan': None}
            if name in ('idefics3', 'smolvlm'):
                settings['size'] = {'longest_edge': 130}
            file.write_text(json.dumps(settings))
        return made[name]

    return write


@pytest.fixture(params=CUTS)
def name(request):
    return request.param


def encoder_of(path, method=None):
    return VisionEncoder.from_pretrained(
        path, merging=method or NoMerging(), dtype=torch.float32, tiles=True
    )


def whole_inputs(name, path, model, answerer, frames):
    """What transformers' processor would give its model for QUESTION about these frames."""
    own = processed(
        name,
        path,
        [[f.rgb for f in frames]] if name in ('idefics3', 'smolvlm') else [f.rgb for f in frames],
    )
    tokenizer, image = answerer.prompt.tokenizer, answerer.prompt.image_token_id
    text = answerer.prompt._chat.write(QUESTION, len(frames))
    inputs = {'pixel_values': own['pixel_values'].float()}
    if name in ANYRES:
        inputs['image_sizes'] = torch.as_tensor(own['image_sizes'])
        if name == 'llava_onevision':
            inputs['batch_num_images'] = torch.as_tensor(own['batch_num_images'])
        with torch.inference_mode():
            features = model.model.get_image_features(
                **inputs, vision_feature_layer=model.config.vision_feature_layer
            ).pooler_output
        counts = [len(one) for one in features]
        pieces = text.split('<image>')
        text = ''.join(p + '<image>' * n for p, n in zip(pieces, [*counts, 0], strict=True))
    elif name == 'internvl':
        each = model.config.image_seq_length
        pieces = text.split('<IMG_CONTEXT>')
        shown = [f'<img>{"<IMG_CONTEXT>" * each * int(n)}</img>' for n in own['num_patches']]
        text = ''.join(p + n for p, n in zip(pieces, [*shown, ''], strict=True))
    elif name == 'gemma3':
        tokens = '<image_soft_token>' * model.config.mm_tokens_per_image
        full = f'\n\n<start_of_image>{tokens}<end_of_image>\n\n'
        pieces = text.split('<start_of_image>')
        shown = [
            f'Here is the original image {full} and here are some crops to help you see better '
            + ' '.join([full] * int(n))
            if n
            else full
            for n in own['num_crops']
        ]
        text = ''.join(p + n for p, n in zip(pieces, [*shown, ''], strict=True))
    else:
        side = 48 // 8 // 2
        around = ('<fake_token_around_image>', '<image>', '<global-img>')
        pieces = text.split('<image>')
        shown = [
            get_image_prompt_string(rows, cols, side * side, *around)
            for rows, cols in zip(own['rows'][0], own['cols'][0], strict=True)
        ]
        text = ''.join(p + n for p, n in zip(pieces, [*shown, ''], strict=True))
        inputs['pixel_attention_mask'] = own['pixel_attention_mask']
    begun = tokenizer.bos_token is not None and tokenizer.bos_token in text
    ids = tokenizer(text, add_special_tokens=not begun, return_tensors='pt')['input_ids']
    if name == 'gemma3':
        inputs['token_type_ids'] = (ids == image).long()
    return {'input_ids': ids, 'attention_mask': torch.ones_like(ids), **inputs}


@pytest.mark.parametrize('sizes', [[size] for size in ODD] + [ODD[:2], [ODD[3], ODD[2]]])
def test_without_merging_it_is_transformers_model(written, name, make_frame, sizes):
    path = written(name)
    frames = [make_frame(i, *size) for i, size in enumerate(sizes)]
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    inputs = whole_inputs(name, path, model, answerer, frames)
    with torch.inference_mode():
        expected = model(**inputs).logits[0, -1]
    for road in FAMILIES[name].roads:
        tokens = encoder_of(path, ToSA(keep=1.0, where=road)).encode(frames)
        rows = answerer.builder.rows(tokens, QUESTION)
        assert len(rows) == inputs['input_ids'].shape[1]
        ours = whole_models.logits(answerer, tokens, QUESTION)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope='module')
def shrinking(tmp_path_factory):
    """A OneVision whose finer image has at most a tile's tokens, on a tower of odd size."""
    path = write_checkpoint(tmp_path_factory.mktemp('shrinking') / 'model')
    change(path / 'config.json', lambda c: {**c, 'vision_aspect_ratio': 'anyres_max_1'})
    return path


def change(file, changed):
    file.write_text(json.dumps(changed(json.loads(file.read_text()))))


@pytest.mark.parametrize('size', [(131, 57), (97, 96)])
def test_a_finer_image_with_too_many_tokens_is_brought_down(shrinking, make_frame, size):
    frame = make_frame(0, *size)
    model = AutoModelForImageTextToText.from_pretrained(shrinking, dtype=torch.float32).eval()
    answerer = Answerer.from_pretrained(shrinking, dtype=torch.float32)
    inputs = whole_inputs('llava_onevision', shrinking, model, answerer, [frame])
    with torch.inference_mode():
        expected = model(**inputs).logits[0, -1]
    for road in ('tower', 'output'):
        [tokens] = encoder_of(shrinking, ToSA(keep=1.0, where=road)).encode([frame])
        assert tokens.grids[1][0] * tokens.grids[1][1] < 50
        ours = whole_models.logits(answerer, [tokens], QUESTION)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
        [merged] = encoder_of(shrinking, ToSA(keep=0.3, where=road)).encode([frame])
        assert len(merged) < 0.5 * len(tokens)
        assert merged.size.sum() == merged.before == tokens.before


@pytest.mark.parametrize('size', ODD)
def test_tiles_lie_where_their_pixels_come_from(written, name, size):
    """Red grows with the column and green with the row of a frame's pixels."""
    width, height = 8 * size[0], 8 * size[1]
    v, u = np.mgrid[:height, :width]
    rgb = np.stack([255 * u / width, 255 * v / height, np.full(u.shape, 255)], axis=2)
    encoder = encoder_of(written(name))
    pixels = encoder.tiles.pixels(rgb.astype(np.uint8))
    tiling = encoder.tiling(width, height)
    assert len(pixels) == len(tiling.tiles)
    for own, grid in zip(pixels, tiling.tiles, strict=True):
        side = own.shape[1] // grid.rows
        means = 127.5 * (torch.nn.functional.avg_pool2d(own, side).flatten(1).T + 1)
        inside = means[:, 2] > 254
        wanted = 255 * (grid.centres + 0.5) / torch.tensor([width, height])
        torch.testing.assert_close(means[inside, :2], wanted[inside], atol=4, rtol=0)
        # Where a patch is all inside of the frame, there is no padding in it, and the other way.
        whole = (grid.area - grid.patch_area).abs() < 1e-3 * grid.patch_area
        assert torch.equal(inside, whole) or (inside != whole).float().mean() < 0.2


@pytest.mark.parametrize('method', [ToSA, ToMe, ToFu])
def test_keep_is_met_in_each_grid(written, name, make_frame, method):
    """At the output to one token a grid; in the tower a tile's padding takes its share."""
    frame = make_frame(0, 131, 57)
    for keep in (0.5, 0.1):
        [tokens] = encoder_of(written(name), method(keep=keep, where='output')).encode([frame])
        assert len(tokens.grids) > 1
        assert tokens.before == sum(rows * columns for rows, columns in tokens.grids)
        for part in tokens.parts():
            assert len(part) == max(1, round(keep * part.before))
            if method is not ToFu:
                assert sorted(set(part.source)) == list(range(len(part)))
                assert part.size.sum() == part.before
    if 'tower' in FAMILIES[name].roads:
        encoder = encoder_of(written(name), method(keep=0.25, where='tower'))
        [tokens] = encoder.encode([frame])
        tiles = len(encoder.tiling(131, 57).tiles)
        whole = tokens.parts()[0]
        assert len(whole) == round(whole.before / 4)
        assert len(whole) < len(tokens) <= len(whole) * tiles
        assert set(tokens.source) - {-1} == set(range(len(tokens)))


def test_a_token_lies_on_the_surface_that_its_tile_sees(written, name, make_frame):
    """A tilted plane: the metric point of each token is the one its pixels back-project to."""
    frame = make_frame(0, 131, 57)
    v, u = np.mgrid[:57, :131].astype(np.float32)
    frame = replace(frame, depth_m=1 + u / 131 + v / 57)
    k = frame.intrinsics
    for road in FAMILIES[name].roads:
        [tokens] = encoder_of(written(name), ToSA(keep=1.0, where=road)).encode([frame])
        assert tokens.spatial == 'metric'
        known = np.isfinite(tokens.xyz[:, 2])
        assert known.mean() > 0.8
        x, y, z = tokens.xyz[known].T
        # Patches at the frame's border are partly outside: their depth is of what is inside.
        depth = 1 + (x / z * k.fx + k.cx) / 131 + (y / z * k.fy + k.cy) / 57
        assert np.median(np.abs(depth - z)) < 0.01
        assert np.abs(depth - z).max() < 0.1


def test_depth_decides(written, name, make_frame):
    frame = make_frame(0, 131, 57)
    for road in FAMILIES[name].roads:
        sources = [
            encoder_of(written(name), ToSA(keep=0.3, alpha=alpha, where=road)).encode([frame])
            for alpha in (1.0, 0.0)
        ]
        assert not np.array_equal(sources[0][0].source, sources[1][0].source)


@pytest.mark.parametrize('road', ['tower', 'output'])
def test_a_newline_follows_each_row_that_has_tokens(written, make_frame, road):
    path = written('llava_next')
    frame = make_frame(0, 131, 57)
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    for keep in (1.0, 0.3, 0.05):
        [tokens] = encoder_of(path, ToSA(keep=keep, where=road)).encode([frame])
        base, fine = tokens.parts()
        rows = answerer.builder.rows([tokens], QUESTION)
        image = rows.images.bool()
        places, embeds = rows.positions[image].tolist(), rows.embeds[image]
        lines = fine.lines()
        assert len(places) == len(tokens) + len(lines)
        assert len(lines) == fine.grids[0][0] or keep < 1
        newline = answerer.family.newline
        found = [i for i, row in enumerate(embeds) if torch.equal(row, newline)]
        wanted = np.cumsum([len(base), *(len(line) + 1 for line in lines.values())])[1:] - 1
        assert found == wanted.tolist()
        # Everything keeps its place without merging, so the words behind do too.
        assert places[len(base) :] == sorted(places[len(base) :])
        after = rows.positions[int(image.nonzero()[-1]) + 1]
        columns = fine.columns + 1
        assert after == places[0] - base.middle_patches()[0] + 36 + fine.grids[0][0] * columns
        assert [(places[i] - after) % columns for i in found] == [columns - 1] * len(found)


def test_rows_of_tokens_are_known(written, name, make_frame):
    path = written(name)
    frames = [make_frame(0, 131, 57), make_frame(1, 60, 131)]
    builder = Answerer.from_pretrained(path, dtype=torch.float32).builder
    tokens = encoder_of(path, ToSA(keep=0.4)).encode(frames)
    rows = builder.rows(tokens, QUESTION)
    assert [image for image, _ in rows.token_rows] == tokens
    for image, numbers in rows.token_rows:
        assert torch.equal(rows.embeds[numbers], image.embeddings)


def test_a_batch_answers_as_one_by_one_and_as_with_a_known_prefix(written, name, make_frame):
    path = written(name)
    encoder = encoder_of(path, ToSA(keep=0.4))
    one, two = encoder.encode([make_frame(0, 131, 57)]), encoder.encode([make_frame(1, 60, 131)])
    requests = [(one, QUESTION), (two, QUESTION), (two, 'What is near?')]
    alone = []
    for request in requests:
        answerer = Answerer.from_pretrained(path, dtype=torch.float32)
        alone.append(answerer.answer(*request, max_new_tokens=6).text)
    assert [g.text for g in answerer.answer_batch(requests, max_new_tokens=6)] == alone
    assert [g.text for g in answerer.answer_batch(requests[1:], max_new_tokens=6)] == alone[1:]
    assert [answerer.answer(*r, max_new_tokens=6).text for r in requests] == alone


def test_a_frame_is_encoded_alike_alone_and_among_others(written, name, make_frame):
    encoder = encoder_of(written(name), ToSA(keep=0.4))
    frames = [make_frame(0, 131, 57), make_frame(1, 60, 131, depth=None), make_frame(2, 40, 40)]
    for frame, tokens in zip(frames, encoder.encode(frames), strict=True):
        [alone] = encoder.encode([frame])
        assert np.array_equal(alone.source, tokens.source)
        assert torch.equal(alone.embeddings, tokens.embeddings)


def test_each_pixel_is_drawn_by_the_finest_tile(written, name, make_frame):
    frame = make_frame(0, 131, 57)
    encoder = encoder_of(written(name))
    [tokens] = encoder.encode([frame])
    drawn = token_map(*encoder.patches(frame, tokens))
    v, u = (tokens.uv[drawn[drawn >= 0]] - np.argwhere(drawn >= 0)[:, ::-1]).T
    finest = min(grid.patch_area for grid in encoder.tiling(131, 57).tiles)
    assert (drawn >= 0).all()
    assert np.hypot(u, v).max() < 2 * finest**0.5 + 1


@pytest.mark.parametrize('other', ['llava', 'qwen2_vl', 'paligemma', 'mistral3'])
def test_a_family_without_tiles_says_so(tmp_path, other):
    path = write_checkpoint(tmp_path / other, family=other)
    with pytest.raises(ModelError, match=r'^tiles: .* makes none of an image; leave the option'):
        VisionEncoder.from_pretrained(path, tiles=True)


@pytest.mark.parametrize(
    ('file', 'changes', 'said'),
    [
        ('preprocessor_config.json', {'image_grid_pinpoints': [[48, 96]]}, "not the model's"),
        ('config.json', {'vision_aspect_ratio': 'anyres'}, "vision_aspect_ratio is 'anyres'"),
        ('both', {'image_grid_pinpoints': [[48, 97]]}, r'has \[48, 97\]; wanted multiples of 48'),
        ('both', {'image_grid_pinpoints': [[48, 48_000]]}, 'image_grid_pinpoints is 48000'),
    ],
)
def test_odd_pinpoints_are_one_line(tmp_path, file, changes, said):
    path = write_checkpoint(tmp_path / 'model')
    files = ('preprocessor_config.json', 'config.json') if file == 'both' else (file,)
    for one in files:
        change(path / one, lambda c: {**c, **changes})
    with pytest.raises(ModelError, match=said):
        VisionEncoder.from_pretrained(path, tiles=True)


@pytest.mark.parametrize(
    ('name', 'changes', 'said'),
    [
        ('internvl', {'max_patches': 10**7}, 'max_patches is 10000000; wanted a number, 1 to'),
        ('internvl', {'min_patches': 13}, 'min_patches is 13, but max_patches 12'),
        ('gemma3', {'pan_and_scan_max_num_crops': 0}, 'max_num_crops is 0; wanted a number, 2'),
    ],
)
def test_odd_numbers_of_tiles_are_one_line(tmp_path, name, changes, said):
    path = write_checkpoint(tmp_path / 'model', family=name)
    change(path / 'preprocessor_config.json', lambda c: {**c, **changes})
    with pytest.raises(ModelError, match=said):
        VisionEncoder.from_pretrained(path, tiles=True)
