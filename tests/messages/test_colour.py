"""Colour encodings of cameras, value by value against slow and obvious references."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PilImage

from tosa_ros.errors import RosError
from tosa_ros.messages import depth_from_message, rgb_from_message

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 36, 8


def image(rows, encoding, height=HEIGHT, width=WIDTH, padding=0, big_endian=False):
    """An Image whose rows of bytes are padded with garbage."""
    rows = np.hstack([rows, np.full((len(rows), padding), 0xAB, np.uint8)])
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1],
        data=rows.tobytes(),
    )


def bt601(y, u, v):
    """One pixel of BT.601 in video range, as ITU-R writes it."""
    light, u, v = 255 / 219 * (y - 16), u - 128, v - 128
    chroma = 255 / 224
    return (
        light + 2 * (1 - 0.299) * chroma * v,
        light - 2 * chroma * ((1 - 0.114) * 0.114 * u + (1 - 0.299) * 0.299 * v) / 0.587,
        light + 2 * (1 - 0.114) * chroma * u,
    )


def assert_is_rgb_of(decoded, pixels):
    """pixels: a function of row and column that gives y, u, v."""
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    assert decoded.dtype == np.uint8
    for row in range(HEIGHT):
        for column in range(WIDTH):
            for seen, wanted in zip(
                decoded[row, column], bt601(*pixels(row, column)), strict=True
            ):
                assert abs(int(seen) - min(max(wanted, 0), 255)) <= 0.51


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
def test_planes_are_read(encoding, padding):
    luma = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    u, v = RNG.integers(0, 256, (2, HEIGHT // 2, WIDTH // 2), np.uint8)
    pairs = np.stack([v, u] if encoding == 'nv21' else [u, v], -1).reshape(-1, WIDTH)
    decoded = rgb_from_message(image(np.vstack([luma, pairs]), encoding, padding=padding))
    y, u, v = (plane.astype(int) for plane in (luma, u, v))
    assert_is_rgb_of(decoded, lambda r, c: (y[r, c], u[r // 2, c // 2], v[r // 2, c // 2]))


def test_planes_whose_height_counts_all_rows_are_read():
    rows = RNG.integers(0, 256, (HEIGHT * 3 // 2, WIDTH), np.uint8)
    wanted = rgb_from_message(image(rows, 'nv12'))
    np.testing.assert_array_equal(rgb_from_message(image(rows, 'nv12', height=len(rows))), wanted)


@pytest.mark.parametrize(
    ('encoding', 'luma_at'), [('uyvy', 1), ('yuv422', 1), ('yuyv', 0), ('yuv422_yuy2', 0)]
)
def test_yuv422_is_read(encoding, luma_at):
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 2), np.uint8)
    decoded = rgb_from_message(image(pixels.reshape(HEIGHT, -1), encoding, padding=3))
    luma, chroma = pixels[..., luma_at].astype(int), pixels[..., 1 - luma_at].astype(int)
    assert_is_rgb_of(
        decoded, lambda r, c: (luma[r, c], chroma[r, c // 2 * 2], chroma[r, c // 2 * 2 + 1])
    )


def test_white_and_black_of_video_are_white_and_black():
    rows = np.vstack([np.full((2, 4), 235), np.full((1, 4), 128)]).astype(np.uint8)
    assert (rgb_from_message(image(rows, 'nv12', 2, 4)) == 255).all()
    rows[:2] = 16
    assert (rgb_from_message(image(rows, 'nv12', 2, 4)) == 0).all()


@pytest.mark.parametrize(
    ('message', 'said'),
    [
        (image(np.zeros((9, 7), np.uint8), 'nv12', 6, 7), 'nv12 has 7x6 pixels; wanted even'),
        (image(np.zeros((7, 8), np.uint8), 'nv12'), '8x36 nv12 with step 8 needs 432'),
        (image(np.zeros((4, 14), np.uint8), 'uyvy', 4, 7), '7 pixels wide; wanted an even width'),
        (
            image(np.zeros((1, 4), np.uint8), 'bayer_rggb8', 1, 4),
            '4x1 pixels; wanted at least 2x2',
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(message, said):
    with pytest.raises(RosError, match=said):
        rgb_from_message(message)


def slow_demosaic(mosaic, pattern):
    """Means of the nearest neighbours of each colour, the image mirrored about its border."""
    height, width = mosaic.shape

    def at(row, column):
        row, column = abs(row), abs(column)
        row = 2 * (height - 1) - row if row >= height else row
        column = 2 * (width - 1) - column if column >= width else column
        return pattern[2 * (row % 2) + column % 2], int(mosaic[row, column])

    rgb = np.zeros((height, width, 3), mosaic.dtype)
    for row in range(height):
        for column in range(width):
            for channel, colour in enumerate('rgb'):
                own, value = at(row, column)
                if own != colour:
                    near = [at(row + d, column + r) for d in (-1, 0, 1) for r in (-1, 0, 1)]
                    seen = [value for other, value in near if other == colour]
                    value = (2 * sum(seen) + len(seen)) // (2 * len(seen))
                rgb[row, column, channel] = value
    return rgb


@pytest.mark.parametrize('size', [(36, 8), (33, 7), (17, 3), (2, 2)])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_mosaics_are_read(pattern, size):
    mosaic = RNG.integers(0, 256, size, np.uint8)
    decoded = rgb_from_message(image(mosaic, f'bayer_{pattern}8', *size, padding=4))
    np.testing.assert_array_equal(decoded, slow_demosaic(mosaic, pattern))


@pytest.mark.parametrize('big_endian', [False, True])
def test_bayer_of_16_bits_is_read(big_endian):
    mosaic = RNG.integers(0, 65536, (HEIGHT, WIDTH)).astype('>u2' if big_endian else '<u2')
    message = image(mosaic.view(np.uint8), 'bayer_gbrg16', big_endian=big_endian)
    wanted = slow_demosaic(mosaic.astype(np.uint16), 'gbrg') >> 8
    np.testing.assert_array_equal(rgb_from_message(message), wanted)


def test_one_colour_seen_through_a_mosaic_is_that_colour():
    mosaic = np.empty((4, 4), np.uint8)
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = 200, 10
    mosaic[0::2, 1::2] = mosaic[1::2, 0::2] = 90
    decoded = rgb_from_message(image(mosaic, 'bayer_rggb8', 4, 4))
    np.testing.assert_array_equal(decoded, np.broadcast_to([200, 90, 10], (4, 4, 3)))


@pytest.mark.parametrize(
    ('encoding', 'channels'),
    [('rgba16', 'rgba'), ('bgra16', 'bgra'), ('16UC3', 'bgr'), ('16UC4', 'bgra')],
)
def test_wide_words_keep_their_upper_byte(encoding, channels):
    rgb = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    planes = {**dict(zip('rgb', np.moveaxis(rgb, -1, 0), strict=True)), 'a': rgb[..., 0]}
    words = np.stack([planes[name] for name in channels], -1).astype('<u2') * 256 + 255
    message = image(words.reshape(HEIGHT, -1).view(np.uint8), encoding)
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


def picture(pixels, stated, kind='PNG', **options):
    stream = io.BytesIO()
    PilImage.fromarray(pixels).save(stream, kind, **options)
    return SimpleNamespace(format=stated, data=stream.getvalue())


RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY_16 = RNG.integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)


@pytest.mark.parametrize(
    ('stated', 'swapped'),
    [
        ('png', False),
        ('PNG', False),
        ('.png', False),
        ('', False),
        ('rgb8; png compressed bgr8', False),
        ('bgr8; png compressed bgr8', False),
        ('bgr8;png compressed', False),
        ('rgba8; png compressed bgr8', False),
        ('rgb8; png compressed rgb8', True),
        ('bgr8; png compressed rgb8 ', True),
    ],
)
def test_formats_as_drivers_write_them(stated, swapped):
    seen = rgb_from_message(picture(RGB, stated))
    np.testing.assert_array_equal(seen, RGB[..., ::-1] if swapped else RGB)


@pytest.mark.parametrize(
    'stated', ['jpeg', 'jpg', 'mjpeg', 'rgb8; jpeg compressed bgr8', 'bgr8; jpeg']
)
def test_jpeg_by_any_of_its_names(stated):
    flat = np.full((16, 16, 3), (200, 30, 60), np.uint8)
    seen = rgb_from_message(picture(flat, stated, 'JPEG', quality=95))
    assert np.abs(seen.astype(int) - flat).max() <= 4


def test_webp_is_read_where_the_format_says_so():
    np.testing.assert_array_equal(
        rgb_from_message(picture(RGB, 'webp', 'WEBP', lossless=True)), RGB
    )
    with pytest.raises(RosError, match='not a JPEG or PNG image'):
        rgb_from_message(picture(RGB, 'png', 'WEBP', lossless=True))


@pytest.mark.parametrize('stated', ['mono8; png compressed ', '8UC1; png compressed', 'png'])
def test_grey_pictures_become_grey(stated):
    grey = RGB[..., 0]
    np.testing.assert_array_equal(
        rgb_from_message(picture(grey, stated)), np.repeat(grey[..., None], 3, axis=2)
    )


@pytest.mark.parametrize('bits', [8, 16])
def test_a_compressed_mosaic_is_a_mosaic(bits):
    mosaic = GREY_16 if bits == 16 else RGB[..., 0]
    seen = rgb_from_message(picture(mosaic, f'bayer_grbg{bits}; png compressed '))
    wanted = slow_demosaic(mosaic, 'grbg')
    np.testing.assert_array_equal(seen, wanted >> 8 if bits == 16 else wanted)


@pytest.mark.parametrize(
    'stated', ['16UC1; png compressed ', '16UC1; png compressed', 'png', 'mono16; png compressed']
)
def test_depth_in_a_png_is_as_its_sensor_wrote_it(stated):
    raw = depth_from_message(picture(GREY_16, stated))
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, GREY_16)


@pytest.mark.parametrize(
    ('message', 'said'),
    [
        (
            picture(GREY_16, 'bayer_rggb16; png compressed'),
            "'bayer_rggb16; png compressed' is not",
        ),
        (picture(RGB, 'png'), "format 'png' is not depth"),
        (picture(RGB[..., 0], '16UC1; jpeg compressed', 'JPEG'), 'wanted 16-bit grey'),
        (SimpleNamespace(format='png', data=b'\x89PNG'), "format 'png' is not depth"),
    ],
)
def test_pictures_without_depth_are_refused_as_depth(message, said):
    with pytest.raises(RosError, match=said):
        depth_from_message(message)


def test_depth_in_a_png_is_refused_as_colour():
    with pytest.raises(RosError, match=r"'16UC1; png compressed ' is depth, not colour"):
        rgb_from_message(picture(GREY_16, '16UC1; png compressed '))
