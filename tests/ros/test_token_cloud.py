"""Visual tokens as a PointCloud2 and back, bit for bit."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
import pytest
import torch

from tosa_ros.errors import RosError
from tosa_ros.frames import NO_DOUBT, DepthDoubt
from tosa_ros.ros.token_cloud import cloud_from_tokens, points_of, tokens_from_cloud
from tosa_ros.vlm.tokens import VisualTokens

sensor_msgs = pytest.importorskip('sensor_msgs.msg')
std_msgs = pytest.importorskip('std_msgs.msg')

PATCHES, TOKENS, FEATURES = 49, 12, 10


def tokens(dtype=torch.float32, spatial='metric', doubts=NO_DOUBT):
    rng = np.random.default_rng(3)
    source = rng.permutation(np.concatenate([np.arange(TOKENS), rng.integers(-1, TOKENS, 37)]))
    xyz = rng.normal(size=(TOKENS, 3)).astype(np.float32)
    xyz[2] = np.nan
    return VisualTokens(
        embeddings=torch.randn(TOKENS, FEATURES, generator=torch.Generator().manual_seed(0)).to(
            dtype
        ),
        size=np.bincount(source[source >= 0], minlength=TOKENS).astype(np.float32),
        source=source,
        uv=rng.uniform(0, 640, (TOKENS, 2)).astype(np.float32),
        rgb=rng.integers(0, 256, (TOKENS, 3), dtype=np.uint8),
        xyz=xyz,
        grids=((PATCHES // 7, 7),),
        spatial=spatial,
        stamp=12.25,
        doubts=doubts,
    )


def cloud(made):
    header = std_msgs.Header(frame_id='camera')
    header.stamp.sec, header.stamp.nanosec = 12, 250_000_000
    return cloud_from_tokens(made, header, 640, 480)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ('spatial', 'doubts'),
    [
        ('metric', NO_DOUBT),
        ('metric', DepthDoubt.ALIGNED | DepthDoubt.SCALE),
        ('levels', DepthDoubt.ESTIMATED),
        ('none', NO_DOUBT),
    ],
)
def test_tokens_survive_bit_for_bit(dtype, spatial, doubts):
    made = tokens(dtype, spatial, doubts)
    message = cloud(made)
    back = tokens_from_cloud(message)
    assert message.header.frame_id == 'camera'
    assert not message.is_dense
    assert back.embeddings.dtype == dtype
    assert torch.equal(back.embeddings, made.embeddings)
    for name in ('size', 'source', 'uv', 'rgb', 'xyz'):
        np.testing.assert_array_equal(getattr(back, name), getattr(made, name), err_msg=name)
        assert getattr(back, name).dtype == getattr(made, name).dtype
    assert (back.before, back.grids, back.across) == (PATCHES, ((7, 7),), 1)
    assert (back.spatial, back.stamp) == (spatial, 12.25)
    assert back.doubts == doubts


def test_tiles_survive():
    made = replace(tokens(), grids=((2, 7), (5, 5), (0, 9), (2, 5)), across=2)
    back = tokens_from_cloud(cloud(made))
    assert (back.grids, back.across) == (made.grids, 2)


@pytest.mark.parametrize(
    ('name', 'value'), [('across', 0), ('across', 2), ('rows', 6), ('columns', 0)]
)
def test_grids_that_do_not_fit_are_refused(name, value):
    message = cloud(tokens())
    at = next(field.offset for field in message.fields if field.name == 'grids')
    at += 2 * ('across', 'rows', 'columns').index(name)
    for token in range(TOKENS):
        message.data[token * message.point_step + at] = value
    with pytest.raises(RosError, match=r'^visual_tokens: grids is \['):
        tokens_from_cloud(message)


def test_a_viewer_reads_place_and_colour_as_the_convention_has_them():
    made = tokens()
    message = cloud(made)
    fields = {field.name: field for field in message.fields}
    assert all(fields[name].datatype == sensor_msgs.PointField.FLOAT32 for name in 'xyz')
    assert fields['rgb'].datatype == sensor_msgs.PointField.FLOAT32
    assert message.point_step % 4 == 0
    data = bytes(message.data)
    for token in range(TOKENS):
        at = token * message.point_step
        blue, green, red = data[at + fields['rgb'].offset :][:3]
        assert (red, green, blue) == tuple(made.rgb[token])
        x = np.frombuffer(data, '<f4', 1, at + fields['x'].offset)[0]
        np.testing.assert_equal(x, made.xyz[token, 0])


def test_a_cloud_with_points_cut_out_still_gives_tokens():
    made = tokens()
    message = cloud(made)
    points = np.frombuffer(message.data, np.uint8).reshape(TOKENS, -1)[[1, 4, 5]]
    message.width, message.row_step = 3, points.nbytes
    message.data = array('B', points.tobytes())
    back = tokens_from_cloud(message)
    assert torch.equal(back.embeddings, made.embeddings[[1, 4, 5]])
    np.testing.assert_array_equal(back.source, np.full(PATCHES, -1))
    assert back.before == PATCHES


def test_a_big_endian_cloud_is_read():
    made = tokens()
    message = cloud(made)
    points = points_of(made, 640, 480)
    message.data = array('B', points.astype(points.dtype.newbyteorder('>')).tobytes())
    message.is_bigendian = True
    assert torch.equal(tokens_from_cloud(message).embeddings, made.embeddings)


def without(message, *names):
    message.fields = [field for field in message.fields if field.name not in names]


def cut(message, count):
    message.data = message.data[:count]


def empty(message):
    message.width = 0


def overlong(message):
    message.fields[0].offset = 10**6


def odd(message, name, value):
    offset = next(field.offset for field in message.fields if field.name == name)
    message.data[offset] = value


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (lambda m: without(m, 'feature'), 'no field feature'),
        (lambda m: without(m, 'u', 'v'), 'no field u, v'),
        (lambda m: cut(m, 100), 'cut off'),
        (empty, 'without points'),
        (overlong, 'do not fit'),
        (lambda m: odd(m, 'spatial', 9), 'spatial is 9'),
        (lambda m: odd(m, 'doubts', 16), 'doubts is 16; wanted 0 to 15'),
    ],
)
def test_another_cloud_is_refused_in_one_line(spoil, said):
    message = cloud(tokens())
    spoil(message)
    with pytest.raises(RosError, match=said) as refused:
        tokens_from_cloud(message)
    assert '\n' not in str(refused.value)
