"""Pictures that are bombs, cut off, of other formats or damaged: one line, and little memory."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hostile import result_or_line
from PIL import Image

from tosa_ros.depth.sensor import SensorDepth
from tosa_ros.errors import DepthError, FrameError, RosError, TosaError
from tosa_ros.messages import depth_from_message, rgb_from_message
from tosa_ros.pictures import MAX_PIXELS, open_picture
from tosa_ros.sources import read_frame


def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(width, height, rows, *, bits=8, colour=2, interlaced=0):
    """A PNG whose header says one thing, and whose pixels may be another."""
    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, interlaced)
    samples = {0: 1, 2: 3}[colour]
    row = b'\0' + b'\x55' * ((bits * samples * width + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b''.join(packer.compress(row) for _ in range(rows)) + packer.flush()
    ends = chunk(b'IDAT', pixels) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + ends


def compressed(data, form='jpeg'):
    return SimpleNamespace(format=form, data=data)


def readers(data, tmp_path):
    """Everything that makes pixels of a colour picture's bytes."""
    path = tmp_path / 'picture.png'
    path.write_bytes(data)
    yield lambda: read_frame(path), FrameError
    yield lambda: rgb_from_message(compressed(data)), RosError


@pytest.mark.parametrize(
    ('width', 'height'), [(9000, 9000), (200_000, 10), (10, 200_000), (500, 8)]
)
def test_too_large_or_too_narrow_images_are_refused_by_their_headers(tmp_path, width, height):
    data = png(width, height, 1)  # Nothing to decode: the header must do.
    for read, error in readers(data, tmp_path):
        with pytest.raises(error, match=f'{width}x{height} pixels; wanted at most'):
            read()
    depth = png(width, height, 1, bits=16, colour=0)
    (tmp_path / 'd.png').write_bytes(depth)
    with pytest.raises(DepthError, match='wanted at most'):
        SensorDepth(scale=1000).read_png(tmp_path / 'd.png')
    with pytest.raises(RosError, match='wanted at most'):
        depth_from_message(compressed(bytes(12) + depth, '16UC1; compressedDepth'))


def test_a_raw_message_that_is_too_narrow_is_refused():
    message = SimpleNamespace(
        encoding='mono8', width=100_000, height=1, step=100_000, is_bigendian=0,
        data=bytes(100_000),
    )  # fmt: skip
    with pytest.raises(RosError, match='100000x1 pixels; wanted at most'):
        rgb_from_message(message)


@pytest.mark.parametrize('step', [2**32 - 1, 2**31])
def test_a_step_beyond_the_data_of_one_row_allocates_nothing(step):
    message = SimpleNamespace(
        encoding='rgb8', width=32, height=1, step=step, is_bigendian=0, data=bytes(range(96))
    )
    pixels, _ = result_or_line(lambda: rgb_from_message(message), 1_000_000)
    assert pixels.tobytes() == bytes(range(96))


def test_pixels_with_a_wrong_checksum_are_read_or_one_line():
    data = bytearray(png(50, 40, 40, bits=16, colour=0, interlaced=1))
    end = data.index(b'IEND') - 8
    data[end - 4 : end] = b'\0\0\0\0'
    result_or_line(lambda: open_picture(bytes(data), 'it', FrameError))


BOMB = """
import resource, sys
from pathlib import Path
from tosa_ros.errors import FrameError
from tosa_ros.sources import read_frame
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_frame(Path(sys.argv[1]))
except FrameError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_bomb_of_half_a_megabyte_takes_no_memory(tmp_path):
    side = 13_000
    (tmp_path / 'bomb.png').write_bytes(png(side, side, side))
    assert (tmp_path / 'bomb.png').stat().st_size < 600_000
    said, grown = subprocess.run(
        [sys.executable, '-c', BOMB, str(tmp_path / 'bomb.png')],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert '13000x13000 pixels' in said
    assert int(grown) < 20_000  # KiB


def test_the_largest_is_still_read(tmp_path):
    width, height = 7680, 4320
    assert width * height < MAX_PIXELS
    picture = open_picture(png(width, height, height), 'it', FrameError)
    assert picture.size == (width, height)


@pytest.mark.parametrize('interlaced', [0, 1])
@pytest.mark.parametrize('rows', [0, 1, 39])
def test_a_png_of_fewer_rows_than_it_says_is_refused(tmp_path, rows, interlaced):
    data = png(50, 40, rows, interlaced=interlaced)
    for read, error in readers(data, tmp_path):
        with pytest.raises(error, match=r'cut off|truncated|cannot be read'):
            read()
    depth = png(50, 40, rows, bits=16, colour=0, interlaced=interlaced)
    (tmp_path / 'd.png').write_bytes(depth)
    with pytest.raises(DepthError, match=r'cut off|truncated|cannot be read'):
        SensorDepth(scale=1000).read_png(tmp_path / 'd.png')


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA', 'P', '1', 'I;16'])
def test_a_whole_png_with_a_black_last_row_is_read(mode):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    pixels[-2:] = 0
    picture = Image.fromarray(pixels)
    if mode == 'I;16':
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 99)
    else:
        picture = picture.convert(mode)
    stream = io.BytesIO()
    picture.save(stream, 'PNG')
    read = open_picture(stream.getvalue(), 'it', FrameError)
    np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n'


def test_other_formats_reach_no_decoder(tmp_path, monkeypatch):
    import PIL.EpsImagePlugin

    def ghost(*_args, **_options):
        raise AssertionError('Ghostscript was called')

    monkeypatch.setattr(PIL.EpsImagePlugin, 'Ghostscript', ghost)
    others = {'eps': EPS}
    for form in ('TIFF', 'GIF', 'TGA', 'PDF', 'ICO', 'PCX', 'JPEG2000'):
        stream = io.BytesIO()
        Image.new('RGB', (50, 40), 'red').save(stream, form)
        others[form] = stream.getvalue()
    for data in others.values():
        for read, error in readers(data, tmp_path):
            with pytest.raises(error, match=r'not a PNG, JPEG|not a JPEG or'):
                read()


def test_damaged_pictures_are_read_or_one_line():
    draws = random.Random(0)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    for form in ('PNG', 'JPEG', 'WEBP', 'BMP', 'PPM'):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form)
        whole = stream.getvalue()
        for _ in range(60):
            damaged = bytearray(whole[: draws.choice((len(whole), draws.randrange(len(whole))))])
            for _ in range(draws.randrange(6)):
                if damaged:
                    damaged[draws.randrange(min(len(damaged), 200))] = draws.randrange(256)
            try:
                assert open_picture(bytes(damaged), 'it', FrameError).size[0] > 0
            except TosaError as error:
                assert len(str(error).splitlines()) == 1  # noqa: PT017 (some are whole)


def test_photos_of_iphones(tmp_path):
    pillow_heif = pytest.importorskip('pillow_heif')
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32] = 200, 30, 60
    path = tmp_path / 'IMG_0001.HEIC'
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=100)
    rgb = read_frame(path).rgb
    assert rgb.shape == pixels.shape
    assert np.abs(rgb.astype(int) - pixels).mean() < 3
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(FrameError, match=r'IMG_0001\.HEIC: (cannot be read as|not) a HEIF image'):
        read_frame(path)


def test_without_pillow_heif_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    path = tmp_path / 'IMG_0001.HEIC'
    path.write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    with pytest.raises(TosaError, match=r"IMG_0001\.HEIC.*pip install 'tosa_ros\[heic\]'"):
        read_frame(path)
