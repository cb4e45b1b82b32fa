"""Frames of one question merged together: by appearance and by where they are in the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tosa_ros.errors import FrameError, MergingError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.merging import NoMerging, ToMe, ToSA
from tosa_ros.vlm import Answerer, VisionEncoder, encode_together
from tosa_ros.vlm.untrained import write_checkpoint

QUESTION = 'How many mugs are on the desk?'


@pytest.fixture(scope='module', params=['llava_onevision', 'qwen3_vl', 'mistral3', 'gemma3'])
def path(request, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('together') / 'model', family=request.param)


@pytest.fixture
def encoder(path):
    return VisionEncoder.from_pretrained(path, merging=NoMerging(), dtype=torch.float32)


def walk(count, width=80, height=60, pose=True):
    """Frames of a wall two metres away, with a box before it, from cameras side by side."""
    frames = []
    for number in range(count):
        rng = np.random.default_rng(number)
        depth = np.full((height, width), 2.0, np.float32)
        depth[20:40, 30 - 5 * number : 50 - 5 * number] = 1.2
        place = np.eye(4)
        place[0, 3] = 0.1 * number
        frames.append(
            Frame(
                rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
                depth_m=depth,
                intrinsics=Intrinsics(60, 60, width / 2, height / 2, width, height),
                pose=place if pose else None,
                stamp=float(number),
            )
        )
    return frames


def test_one_frame_is_merged_as_by_itself(encoder):
    [frame] = walk(1, pose=False)
    encoder.merging = ToSA(keep=0.3, where='output')
    [alone], [together] = encoder.encode([frame]), encode_together(encoder, [frame])
    assert np.array_equal(alone.source, together.source)
    assert torch.equal(alone.embeddings, together.embeddings)
    for name in ('uv', 'xyz', 'size'):
        np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=1e-4)
    # Each patch counts the same here, however much of it is in the picture.
    assert np.abs(together.rgb.astype(int) - alone.rgb).max() <= 6


def test_keeping_all_changes_no_bit(encoder):
    frames = walk(3)
    plain = encoder.encode(frames)
    encoder.merging = ToSA(keep=1.0)
    for one, other in zip(plain, encode_together(encoder, frames), strict=True):
        assert torch.equal(one.embeddings, other.embeddings)
        np.testing.assert_allclose(other.xyz, one.xyz, atol=1e-5)


@pytest.mark.parametrize('keep', [0.5, 0.1, 0.02])
@pytest.mark.parametrize('method', [ToSA, ToMe])
def test_keep_is_met_over_all_frames(encoder, method, keep):
    frames = walk(4)
    plain = encoder.encode(frames)
    encoder.merging = method(keep=keep)
    tokens = encode_together(encoder, frames)
    assert encoder.merging == method(keep=keep)
    patches = sum(one.before for one in plain)
    assert sum(map(len, tokens)) == max(1, round(keep * patches))
    assert sum(one.size.sum() for one in tokens) == patches
    assert [(one.stamp, one.grids) for one in tokens] == [(o.stamp, o.grids) for o in plain]
    for one in tokens:
        assert set(one.source) - {-1} == set(range(len(one)))


def test_by_space_alone_a_token_lies_on_one_surface_of_the_map(encoder):
    """Where the box is in a frame depends on its camera; in the map it stays."""
    frames = walk(4)
    encoder.merging = ToSA(keep=0.05, alpha=0.0, ward=0, where='output')
    tokens = encode_together(encoder, frames)
    shared = sum(float(one.size.sum()) - (one.source >= 0).sum() for one in tokens)
    assert shared > 0.3 * sum(one.before for one in tokens)
    for one, frame in zip(tokens, frames, strict=True):
        places = one.xyz + frame.pose[:3, 3]
        known = np.isfinite(one.xyz[:, 2])
        assert (np.abs(places[known, 0]) < 2).all()
        assert ((one.xyz[known, 2] > 1.15) & (one.xyz[known, 2] < 2.05)).all()


def test_answers_follow_also_where_a_frame_has_no_token_left(path, encoder):
    frames = walk(4)
    encoder.merging = ToSA(keep=0.02)
    tokens = encode_together(encoder, frames)
    assert min(map(len, tokens)) == 0
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    first = answerer.answer(tokens, QUESTION, max_new_tokens=6).text
    assert first
    # Behind the prefix that is known now, and in a batch.
    assert answerer.answer(tokens, QUESTION, max_new_tokens=6).text == first
    batch = answerer.answer_batch([(tokens, QUESTION), (tokens[:2], 'What?')], max_new_tokens=6)
    assert batch[0].text == first


def test_frames_without_depth_take_part_by_appearance(encoder):
    frames = walk(2)
    frames[1] = replace(frames[1], depth_m=None, pose=None)
    encoder.merging = ToSA(keep=0.3)
    tokens = encode_together(encoder, frames)
    assert [one.spatial for one in tokens] == ['metric', 'none']
    assert sum(map(len, tokens)) == round(0.3 * sum(one.before for one in tokens))


@pytest.mark.parametrize(
    ('merging', 'said'),
    [
        (ToSA(spatial='levels'), r"^spatial: 'levels', but levels of depth are each frame's own"),
        (ToSA(where='tower'), r"^where: 'tower', but frames merge together at the output alone"),
    ],
)
def test_what_frames_do_not_share_is_refused(tmp_path, merging, said):
    path = write_checkpoint(tmp_path / 'model')
    encoder = VisionEncoder.from_pretrained(path, merging=merging)
    with pytest.raises(MergingError, match=said):
        encode_together(encoder, walk(2))


def test_tiles_and_lacking_poses_are_refused(tmp_path):
    path = write_checkpoint(tmp_path / 'model')
    frames, encoder = walk(3), VisionEncoder.from_pretrained(path)
    frames[1] = replace(frames[1], pose=None)
    with pytest.raises(FrameError, match=r'^frame 1 of 3 has no pose: frames merge together by'):
        encode_together(encoder, frames)
    encoder = VisionEncoder.from_pretrained(path, tiles=True)
    with pytest.raises(MergingError, match=r'^tiles: frames in tiles do not merge together'):
        encode_together(encoder, walk(2))
