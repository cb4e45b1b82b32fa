"""frames_of: every kind of thing that people have, and what is none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tosa_ros.errors import FrameError
from tosa_ros.frames import Frame
from tosa_ros.sources import frames_of, read_folder

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def write_video(path):
    av = pytest.importorskip('av')
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for i in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 * i, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def png(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(PIXELS).save(path)
    return path


def kinds(path):
    floats = PIXELS.astype(np.float32) / 255
    tensor = torch.from_numpy(PIXELS)
    return {
        'frame': Frame(PIXELS),
        'path': path,
        'text': str(path),
        'array': PIXELS,
        'channels first': np.moveaxis(PIXELS, 2, 0),
        'floats': floats,
        'with alpha': np.dstack([PIXELS, PIXELS[..., :1]]),
        'tensor': tensor,
        'tensor, channels first, floats': (tensor.float() / 255).permute(2, 0, 1),
        'picture': Image.fromarray(PIXELS),
        'bytes': path.read_bytes(),
        'file': io.BytesIO(path.read_bytes()),
    }


@pytest.mark.parametrize('kind', kinds(Path(__file__)))
def test_every_kind_gives_the_same_frame(png, kind):
    value = kinds(png)[kind]
    given = frames_of(value)
    assert np.array_equal(given.frames[0].rgb, PIXELS)
    assert given.names == [str(png) if kind in ('path', 'text') else '']


def test_several_of_any_kinds_in_their_order(png):
    grey = PIXELS[..., 0]
    batch = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    given = frames_of([png, grey, batch, (Frame(PIXELS),)])
    assert [f.rgb.shape for f in given.frames] == [
        (6, 8, 3),
        (6, 8, 3),
        *[(4, 5, 3)] * 2,
        (6, 8, 3),
    ]
    assert np.array_equal(given.frames[1].rgb, np.dstack([grey] * 3))


def test_a_photo_is_upright_from_wherever_it_comes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    Image.fromarray(PIXELS).save(tmp_path / 'a.png', exif=exif)
    data = (tmp_path / 'a.png').read_bytes()
    for value in (tmp_path / 'a.png', data, Image.open(tmp_path / 'a.png')):
        assert frames_of(value).frames[0].rgb.shape == (8, 6, 3)


def test_a_buffer_that_is_filled_again_does_not_change_the_frame():
    buffer = PIXELS.copy()
    given = frames_of(buffer)
    buffer[:] = 0
    assert np.array_equal(given.frames[0].rgb, PIXELS)


def test_a_folder_of_photos_and_one_of_frames(png, folder):
    Image.fromarray(PIXELS).save(png.parent / 'b.png')
    (photos := png.parent / 'photos').mkdir()
    for name in ('a', 'b'):
        (png.parent / f'{name}.png').rename(photos / f'{name}.png')
    assert frames_of(photos).names == [str(photos / 'a.png'), str(photos / 'b.png')]
    whole = frames_of(folder.path)
    assert [f.has_metric_points for f in whole.frames] == [True] * 3
    frames = read_folder(folder.path)
    assert frames_of(frames).frames[1] is frames_of(frames).frames[1]
    assert frames_of(frames[1:]).names == whole.names[1:]


def test_a_video_at_its_times(tmp_path):
    path = write_video(tmp_path / 'walk.mp4')
    given = frames_of((path, [0.2, 0.0]))
    assert [round(f.stamp, 1) for f in given.frames] == [0.2, 0.0]
    assert given.names == [f'{path}@0.2', f'{path}@0']
    assert len(frames_of((str(path), 0.1)).frames) == 1
    with pytest.raises(FrameError, match=r'walk.mp4: a video; say which of its frames by their'):
        frames_of(path)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (7, r'frames: 7 \(int\) gives no frame; wanted a Frame \(read_frame of'),
        ({'a': 1}, r'\(dict\) gives no frame'),
        (None, r'frames: None \(NoneType\)'),
        ([3], r'frames: 3 \(int\)'),
        ([], 'no frames'),
        ('gone.jpg', 'gone.jpg: no such file'),
        ('x' * 5000, 'no such file'),
        ('a\0b', 'no such file'),
        (np.zeros((4, 4, 3), np.float32) + 7, 'values from 7 to 7: wanted'),
        (np.full((4, 4, 3), np.nan), 'wanted'),
        (np.zeros((4, 4, 3), np.int64), 'dtype int64: wanted'),
        (np.zeros((6, 7, 5), np.uint8), r'shape \(6, 7, 5\), dtype uint8: wanted'),
        (np.zeros((0, 4, 3), np.uint8), 'wanted'),
        (torch.zeros(()), 'wanted'),
        (Image.new('F', (3, 3)), 'mode F is depth'),
        (b'no image', 'the bytes of an image: not a PNG'),
        (io.StringIO('text'), 'opened as text'),
        (('photo.jpg', [1.0]), 'go with a video'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_gives_no_frame_is_said_in_a_line(value, message):
    with pytest.raises(FrameError, match=message) as caught:
        frames_of(value)
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 500
