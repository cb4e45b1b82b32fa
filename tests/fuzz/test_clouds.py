"""PointCloud2 messages that say anything: tokens or one line, and no more memory than that."""

from __future__ import annotations

import copy
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hostile import result_or_line
from hypothesis import example, given
from hypothesis import strategies as st

from tosa_ros.errors import RosError
from tosa_ros.ros.token_cloud import points_of, tokens_from_cloud
from tosa_ros.vlm.tokens import VisualTokens

PATCHES, TOKENS, FEATURES = 25, 6, 4
NUMBERS = {np.dtype(k): n for k, n in (('u1', 2), ('u2', 4), ('u4', 6), ('f4', 7))}
EDGES = [0, 1, 2, 7, 8, 2**15, 2**16 - 1, 2**16, 2**31 - 32, 2**31 - 1, 2**31, 2**32 - 1]
WORDS = st.sampled_from(EDGES) | st.integers(0, 2**32 - 1) | st.integers(0, 200)
# How much a cloud of a few hundred bytes may make this process allocate on top.
ALLOWED_BYTES = 4_000_000


def sound_cloud():
    """What cloud_from_tokens makes, as plain objects: ROS checks no more than ranges of fields."""
    rng = np.random.default_rng(0)
    tokens = VisualTokens(
        embeddings=torch.randn(TOKENS, FEATURES, generator=torch.Generator().manual_seed(0)),
        size=np.ones(TOKENS, np.float32),
        source=rng.permutation(np.arange(PATCHES) % TOKENS),
        uv=np.ones((TOKENS, 2), np.float32),
        rgb=np.ones((TOKENS, 3), np.uint8),
        xyz=np.ones((TOKENS, 3), np.float32),
        grids=((PATCHES // 5, 5),),
        spatial='none',
        stamp=0.0,
    )
    points = points_of(tokens, 64, 48)
    fields = []
    for name in points.dtype.names:
        kind, offset = points.dtype.fields[name][:2]
        base, shape = kind.subdtype or (kind, (1,))
        number = NUMBERS[base.newbyteorder('=')]
        fields.append(SimpleNamespace(name=name, offset=offset, datatype=number, count=shape[0]))
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id='camera'),
        height=1,
        width=TOKENS,
        fields=fields,
        point_step=points.dtype.itemsize,
        row_step=points.nbytes,
        is_bigendian=False,
        is_dense=True,
        data=array('B', points.tobytes()),
    )


SOUND = sound_cloud()
FIELD = {f.name: i for i, f in enumerate(SOUND.fields)}
SIZES = st.tuples(st.sampled_from(['width', 'height', 'point_step', 'row_step']), WORDS)
SHAPES = st.tuples(
    st.sampled_from(range(len(SOUND.fields))), st.sampled_from(['offset', 'count']), WORDS
)
KINDS = st.tuples(
    st.sampled_from(range(len(SOUND.fields))), st.just('datatype'), st.integers(0, 9)
)
NAMES = st.tuples(
    st.sampled_from(range(len(SOUND.fields))),
    st.just('name'),
    st.sampled_from([*FIELD, 'feature_f16', 'feature_bf16', '']),
)
BYTES = st.tuples(st.integers(0, len(SOUND.data) - 4), st.binary(min_size=4, max_size=4))


def test_the_sound_one_is_read():
    tokens = tokens_from_cloud(SOUND)
    assert (len(tokens), tokens.before) == (TOKENS, PATCHES)


@given(
    sizes=st.lists(SIZES, max_size=2),
    fields=st.lists(SHAPES | KINDS | NAMES, max_size=3),
    spoilt=st.lists(BYTES, max_size=3),
    length=st.none() | st.integers(0, len(SOUND.data)),
    big=st.booleans(),
)
@example([], [(FIELD['feature'], 'offset', 2**31 - 8)], [], None, False)
@example([], [(FIELD['feature'], 'offset', 2**31 - 32)], [], None, False)
@example([], [(FIELD['source'], 'count', 2**31)], [], None, False)
@example([('width', 2**16), ('height', 2**16)], [], [], None, False)
@example([('width', 2**32 - 1), ('point_step', 0)], [], [], None, False)
@example([('width', 1), ('point_step', 65)], [], [], None, False)
@example([], [(FIELD['grids'], 'count', 2)], [], None, False)
@example([], [(FIELD['grids'], 'count', 2**18)], [], None, False)
def test_a_cloud_gives_tokens_or_one_line(fed, sizes, fields, spoilt, length, big):
    cloud = copy.deepcopy(SOUND)
    for name, value in sizes:
        setattr(cloud, name, value)
    for index, name, value in fields:
        setattr(cloud.fields[index], name, value)
    for place, piece in spoilt:
        cloud.data[place : place + 4] = array('B', piece)
    cloud.data, cloud.is_bigendian = cloud.data[:length], big
    fed('clouds')
    read(cloud)


@given(before=WORDS)
@example(2**32 - 1)
@example(2**29)
def test_the_number_of_patches_is_compared_before_it_is_believed(fed, before):
    cloud = copy.deepcopy(SOUND)
    points = np.frombuffer(cloud.data, np.uint8).reshape(TOKENS, -1).copy()
    at = cloud.fields[FIELD['before']].offset
    points[:, at : at + 4] = np.frombuffer(np.uint32(before).tobytes(), np.uint8)
    at = cloud.fields[FIELD['grids']].offset
    grids = np.array([1, 1, before % 2**16], np.uint16)
    points[:, at : at + 6] = np.frombuffer(grids.tobytes(), np.uint8)
    cloud.data = array('B', points.tobytes())
    fed('clouds')
    tokens = read(cloud)
    assert (tokens is not None) == (TOKENS <= before <= 0xFFFF)


def read(cloud):
    tokens, _ = result_or_line(lambda: tokens_from_cloud(cloud), ALLOWED_BYTES)
    if tokens is not None:
        places = tokens.middle_patches()
        assert len(places) == len(tokens)
        assert all(0 <= place < tokens.before for place in places)
        assert bool(torch.isfinite(tokens.embeddings).all())
    return tokens


@pytest.mark.parametrize('name', ['before', 'spatial'])
def test_points_of_two_frames_are_not_one(name):
    cloud = copy.deepcopy(SOUND)
    cloud.data[cloud.fields[FIELD[name]].offset] ^= 1
    if name == 'before':
        with pytest.raises(RosError, match='one frame'):
            tokens_from_cloud(cloud)
    else:
        assert tokens_from_cloud(cloud).spatial == 'levels'
