"""Visual tokens <-> sensor_msgs/PointCloud2: one point a token, that any ROS tool can show.

A point has its place, colour and size, and its feature vector, so that RViz draws what the
model looks at and the answer node reads what it needs from the same message. What concerns the
whole frame is repeated in every point: it survives every tool that copies points, and a cloud
from which points were cut still answers questions about the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tosa_ros.errors import RosError
from tosa_ros.frames import ALL_DOUBTS, DepthDoubt
from tosa_ros.messages import stamp_s
from tosa_ros.ros.conversions import byte_array
from tosa_ros.vlm.tokens import Grid, VisualTokens

SPATIAL_KINDS = ('none', 'levels', 'metric')
_NO_TOKEN = 0xFFFF
MAX_TOKENS = _NO_TOKEN  # of a frame: patches and tokens are numbered in 16 bits
MAX_POINT_BYTES = 1 << 20
MAX_GRIDS = 128  # of a frame in tiles
# PointField has no 16-bit floats: their bits travel as UINT16 under a name that says so.
_FEATURES = {
    'feature': (torch.float32, np.float32),
    'feature_f16': (torch.float16, np.uint16),
    'feature_bf16': (torch.bfloat16, np.uint16),
}
# Fields of several numbers a point, whose count is the frame's.
_LISTS = ('source', 'grids')
# PointField's datatype numbers.
_DATATYPES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}
_DTYPES = {number: name for name, number in _DATATYPES.items()}


def points_of(tokens: VisualTokens, width: int, height: int) -> np.ndarray:
    """The tokens as a structured array (T',), fields as docs/ros.md lists them.

    width, height: the colour image's, pixels; u and v are in it.
    """
    embeddings = tokens.embeddings.detach().cpu().contiguous()
    name, kind = next(
        ((name, kind) for name, (dtype, kind) in _FEATURES.items() if dtype == embeddings.dtype),
        (None, None),
    )
    if name is None:
        raise RosError(
            f'visual_tokens: embeddings are {embeddings.dtype}; wanted float32, float16, bfloat16'
        )
    count, features = embeddings.shape
    shares = -(-len(tokens.source) // max(count, 1))
    grids = [tokens.across, *(length for grid in tokens.grids for length in grid)]
    points = np.zeros(count, _layout(name, np.dtype(kind), features, shares, len(grids)))
    for axis, field in enumerate('xyz'):
        points[field] = tokens.xyz[:, axis]
    points['u'], points['v'] = tokens.uv[:, 0], tokens.uv[:, 1]
    points['rgb'] = packed_rgb(tokens.rgb)
    points['size'], points['index'] = tokens.size, np.arange(count)
    points['before'], points['spatial'] = tokens.before, SPATIAL_KINDS.index(tokens.spatial)
    points['doubts'] = int(tokens.doubts)
    points['grids'] = grids
    points['image_width'], points['image_height'] = width, height
    source = np.full(shares * count, _NO_TOKEN, np.uint16)
    source[: len(tokens.source)] = np.where(tokens.source < 0, _NO_TOKEN, tokens.source)
    points['source'] = source.reshape(count, shares)
    bits = embeddings if kind is np.float32 else embeddings.view(torch.int16)
    points[name] = bits.numpy().view(kind)
    return points


def cloud_from_tokens(tokens: VisualTokens, header: Any, width: int, height: int) -> Any:
    """A PointCloud2 of the tokens of a width x height image; the header is the image's."""
    return cloud_of_points(points_of(tokens, width, height), header)


def packed_rgb(rgb: np.ndarray) -> np.ndarray:
    """Colours (N, 3) uint8 as PCL and RViz have them: a float32 (N,) each, of three bytes."""
    red, green, blue = rgb.astype(np.uint32).T
    return (red << 16 | green << 8 | blue).astype('<u4').view('<f4')


def cloud_of_points(points: np.ndarray, header: Any) -> Any:
    """A PointCloud2 of a structured array (N,) with the fields x, y and z; N may be 0."""
    from sensor_msgs.msg import PointCloud2, PointField

    message = PointCloud2(header=header, height=1, width=len(points))
    for name in points.dtype.names:
        dtype, offset = points.dtype.fields[name][:2]
        base, shape = dtype.subdtype or (dtype, (1,))
        datatype = _DATATYPES[base.str[1:]]
        message.fields.append(
            PointField(name=name, offset=offset, datatype=datatype, count=shape[0])
        )
    message.point_step = points.dtype.itemsize
    message.row_step = points.nbytes
    message.data = byte_array(points.view(np.uint8))
    message.is_dense = all(bool(np.isfinite(points[axis]).all()) for axis in 'xyz')
    return message


def tokens_from_cloud(message: Any) -> VisualTokens:
    """The tokens of a PointCloud2 that `cloud_from_tokens` made.

    `source` is -1 throughout where points were cut out or sorted on the way.

    Raises:
        RosError: a cloud of something else, without points, or cut off; features that are not
            finite.
    """
    points = _points(message)
    name = next(name for name in _FEATURES if name in points.dtype.names)
    dtype, _ = _FEATURES[name]
    bits = torch.from_numpy(points[name].copy())
    embeddings = bits if dtype == torch.float32 else bits.view(torch.int16).view(dtype)
    if not bool(torch.isfinite(embeddings).all()):
        raise RosError(f'visual_tokens: {name} holds numbers that are not finite')
    rgb = points['rgb'].copy().view(np.uint32)
    spatial = int(points['spatial'][0])
    if spatial >= len(SPATIAL_KINDS):
        raise RosError(
            f'visual_tokens: spatial is {spatial}; wanted 0 to {len(SPATIAL_KINDS) - 1}'
        )
    doubts = int(points['doubts'][0])
    if doubts > ALL_DOUBTS:
        raise RosError(f'visual_tokens: doubts is {doubts}; wanted 0 to {int(ALL_DOUBTS)}')
    across, grids = _grids(points)
    return VisualTokens(
        embeddings=embeddings,
        size=points['size'].astype(np.float32),
        source=_source(points),
        uv=np.stack([points['u'], points['v']], axis=1).astype(np.float32),
        rgb=np.stack([rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255], axis=1).astype(np.uint8),
        xyz=np.stack([points[axis] for axis in 'xyz'], axis=1).astype(np.float32),
        grids=grids,
        spatial=SPATIAL_KINDS[spatial],
        stamp=stamp_s(message.header.stamp),
        doubts=DepthDoubt(doubts),
        across=across,
    )


def _layout(feature: str, kind: np.dtype, features: int, shares: int, grids: int) -> np.dtype:
    four_bytes = [(name, '<f4') for name in ('x', 'y', 'z', 'rgb', 'u', 'v', 'size')]
    return np.dtype(
        [
            *four_bytes,
            ('before', '<u4'),
            (feature, kind.newbyteorder('<'), (features,)),
            ('index', '<u2'),
            ('grids', '<u2', (grids,)),
            ('image_width', '<u2'),
            ('image_height', '<u2'),
            ('source', '<u2', (shares,)),
            ('spatial', 'u1'),
            ('doubts', 'u1'),
        ],
        align=True,
    )


def _points(message: Any) -> np.ndarray:
    """The points of a cloud as a structured array in native byte order.

    A message may hold anything: sizes are compared with the bytes that there are, and fields with
    the layout of `cloud_from_tokens`, before numpy uses them.
    """
    count, step = message.width * message.height, message.point_step
    data = np.frombuffer(message.data, np.uint8)
    if count == 0:
        raise RosError('visual_tokens: a cloud without points; is vision_node publishing it?')
    if count > MAX_TOKENS or step > MAX_POINT_BYTES:
        raise RosError(
            f'visual_tokens: {count} points of {step} bytes; wanted at most {MAX_TOKENS} of '
            f'{MAX_POINT_BYTES}'
        )
    if data.size < count * step:
        raise RosError(
            f'visual_tokens: {data.size} bytes of data, but {count} points of {step} need '
            f'{count * step}; the cloud is cut off'
        )
    fields = _known_fields(message)
    layout = np.dtype(
        {
            'names': [field.name for field in fields],
            'formats': [_format(field, message.is_bigendian) for field in fields],
            'offsets': [field.offset for field in fields],
            'itemsize': step,
        }
    )
    points = np.frombuffer(data[: count * step], layout)
    return points.astype(points.dtype.newbyteorder('='))


def _known_fields(message: Any) -> list[Any]:
    """The fields that are read, each of the type it should have and inside of a point."""
    types = _wanted_types()
    fields = [field for field in message.fields if field.name in types]
    names = [field.name for field in fields]
    missing = {*types} - {*_FEATURES} - {*names}
    if missing or not {*_FEATURES} & {*names}:
        lacking = ', '.join(sorted(missing)) or 'feature'
        raise RosError(
            f'visual_tokens: the cloud has no field {lacking}; is another cloud remapped to it?'
        )
    if len(names) > len({*names}) or len({*_FEATURES} & {*names}) > 1:
        raise RosError(f'visual_tokens: fields {", ".join(names)}; wanted each once, one feature')
    for field in fields:
        wanted = types[field.name]
        if field.datatype not in wanted:
            raise RosError(
                f'visual_tokens: field {field.name} is of datatype {field.datatype}; wanted '
                f'{wanted[0]}'
            )
        width = np.dtype(_DTYPES[field.datatype]).itemsize * field.count
        single = field.count == 1 or field.name in (*_FEATURES, *_LISTS)
        if not single or not width or field.offset + width > message.point_step:
            raise RosError(
                f'visual_tokens: {field.count} of field {field.name} at byte {field.offset} do '
                f'not fit a point of {message.point_step} bytes'
            )
    return fields


def _wanted_types() -> dict[str, tuple[int, ...]]:
    """PointField datatypes by name of field; PCL has rgb as a float or as an integer."""
    types = {name: (_DATATYPES[np.dtype(kind).str[1:]],) for name, (_, kind) in _FEATURES.items()}
    layout = _layout('feature', np.dtype('f4'), 1, 1, 1)
    for name in layout.names:
        types.setdefault(name, (_DATATYPES[layout[name].base.str[1:]],))
    return types | {'rgb': (_DATATYPES['f4'], _DATATYPES['u4'])}


def _format(field: Any, big_endian: bool) -> Any:
    base = np.dtype(_DTYPES[field.datatype]).newbyteorder('>' if big_endian else '<')
    return (base, (field.count,)) if field.name in (*_FEATURES, *_LISTS) else base


def _before(points: np.ndarray) -> int:
    """The number of tokens without merging, which every point holds."""
    before = int(points['before'][0])
    if (points['before'] != before).any():
        raise RosError('visual_tokens: points of frames with different patches; wanted one frame')
    if not len(points) <= before <= MAX_TOKENS:
        raise RosError(
            f'visual_tokens: before is {before} for {len(points)} points; wanted {len(points)} '
            f'to {MAX_TOKENS}'
        )
    return before


def _grids(points: np.ndarray) -> tuple[int, tuple[Grid, ...]]:
    """How many grids lie side by side, and their shapes, which every point holds."""
    before, numbers = _before(points), points['grids'].reshape(len(points), -1)
    across, *sides = numbers[0, : 1 + 2 * MAX_GRIDS].tolist()
    grids = tuple(zip(sides[::2], sides[1::2], strict=False))
    if (
        numbers.shape[1] != 1 + len(grids) * 2
        or (numbers != numbers[0]).any()
        or not 1 <= across <= len(grids)
        or not grids[0][1]
        or sum(rows * columns for rows, columns in grids) != before
    ):
        raise RosError(
            f'visual_tokens: grids is {[across, *sides]} for {before} tokens; wanted the same '
            'everywhere, how many lie side by side, and rows and columns of each'
        )
    return across, grids


def _source(points: np.ndarray) -> np.ndarray:
    before, shares = _before(points), points['source'].reshape(-1)
    source = np.where(shares == _NO_TOKEN, -1, shares.astype(np.int64))[:before]
    whole = np.array_equal(points['index'], np.arange(len(points)))
    if not whole or len(source) < before or source.max(initial=-1) >= len(points):
        return np.full(before, -1, np.int64)
    return source
