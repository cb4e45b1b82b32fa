"""Numbers of a colour camera -> RGB: luma and chroma (YUV), and mosaics of bare sensors (Bayer).

YUV is BT.601 in video range (luma 16 to 235), which is what UVC cameras send and cv_bridge reads.
"""

from __future__ import annotations

import numpy as np

from tosa_ros.errors import RosError

# The colours of the upper left 2x2 pixels, row by row.
BAYER = ('rggb', 'bggr', 'gbrg', 'grbg')
_LUMA, _RED_OF_V, _BLUE_OF_U = 1.164384, 1.596027, 2.017232
_GREEN_OF_U, _GREEN_OF_V = 0.391762, 0.812968
_BLOCK_ROWS = 16  # what is worked on at a time, so that it stays in the processor's cache


def rgb_from_yuv422(pixels: np.ndarray, luma_first: bool) -> np.ndarray:
    """(H, W, 2) uint8 of luma and alternating u, v -> (H, W, 3) uint8.

    Raises:
        RosError: an odd width.
    """
    if pixels.shape[1] % 2:
        raise RosError(f'image: yuv422 is {pixels.shape[1]} pixels wide; wanted an even width')
    luma, chroma = (0, 1) if luma_first else (1, 0)
    return _rgb(pixels[..., luma], pixels[:, 0::2, chroma], pixels[:, 1::2, chroma])


def rgb_from_planes(rows: np.ndarray, v_first: bool) -> np.ndarray:
    """(H * 3 / 2, W) uint8: luma, then rows of pairs, one for 2x2 pixels -> (H, W, 3) uint8."""
    height = len(rows) * 2 // 3
    u, v = (1, 0) if v_first else (0, 1)
    return _rgb(rows[:height], rows[height:, u::2], rows[height:, v::2])


def demosaic(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    """(H, W) uint8 or uint16 of a Bayer sensor -> (H, W, 3) RGB of the same type.

    A colour that a pixel lacks is the mean of its nearest neighbours that have it; the image is
    mirrored at its border.

    Args:
        pattern: one of BAYER.

    Raises:
        RosError: fewer than 2x2 pixels.
    """
    height, width = mosaic.shape
    if height < 2 or width < 2:
        raise RosError(f'image: a Bayer mosaic of {width}x{height} pixels; wanted at least 2x2')
    wide = np.uint16 if mosaic.dtype == np.uint8 else np.uint32
    padded = np.pad(mosaic, 1, mode='reflect')
    rgb = np.empty((height, width, 3), mosaic.dtype)
    for top in range(0, height, _BLOCK_ROWS):
        block = padded[top : top + _BLOCK_ROWS + 2].astype(wide)
        _demosaic_block(block, divmod(pattern.index('r'), 2), rgb[top : top + _BLOCK_ROWS])
    return rgb


def _demosaic_block(padded: np.ndarray, red: tuple[int, int], rgb: np.ndarray) -> None:
    """Fills rgb (H, W, 3) from (H + 2, W + 2); red: its row and column in the first 2x2."""
    for row in (0, 1):
        for column in (0, 1):
            means = _Neighbours(padded, row, column)
            red_line, red_post = row == red[0], column == red[1]
            if red_line and red_post:
                colours = means.own, means.cross, means.corners
            elif not red_line and not red_post:
                colours = means.corners, means.cross, means.own
            elif red_line:
                colours = means.beside, means.own, means.above
            else:
                colours = means.above, means.own, means.beside
            for channel, colour in enumerate(colours):
                rgb[row::2, column::2, channel] = colour()


class _Neighbours:
    """Means about the pixels of one of a mosaic's four kinds, rounded half up."""

    def __init__(self, padded: np.ndarray, row: int, column: int) -> None:
        self._padded, self._row, self._column = padded, row, column

    def own(self) -> np.ndarray:
        return self._at(0, 0)

    def beside(self) -> np.ndarray:
        return (self._at(0, -1) + self._at(0, 1) + 1) >> 1

    def above(self) -> np.ndarray:
        return (self._at(-1, 0) + self._at(1, 0) + 1) >> 1

    def cross(self) -> np.ndarray:
        return (self._at(0, -1) + self._at(0, 1) + self._at(-1, 0) + self._at(1, 0) + 2) >> 2

    def corners(self) -> np.ndarray:
        above = self._at(-1, -1) + self._at(-1, 1)
        return (above + self._at(1, -1) + self._at(1, 1) + 2) >> 2

    def _at(self, down: int, right: int) -> np.ndarray:
        height, width = self._padded.shape
        rows = slice(1 + self._row + down, height - 1 + down, 2)
        return self._padded[rows, 1 + self._column + right : width - 1 + right : 2]


def _rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Luma of every pixel, and chroma of every pixel or of blocks of equal size."""
    height, width = y.shape
    high, wide = height // u.shape[0], width // u.shape[1]
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BLOCK_ROWS):
        rows = slice(top, top + _BLOCK_ROWS)
        small = slice(top // high, (top + _BLOCK_ROWS) // high)
        _rgb_block(y[rows], u[small], v[small], (high, wide), rgb[rows])
    return rgb


def _rgb_block(
    y: np.ndarray, u: np.ndarray, v: np.ndarray, size: tuple[int, int], rgb: np.ndarray
) -> None:
    """size: of the blocks that share chroma, rows and columns."""
    u, v = u.astype(np.float32) - 128, v.astype(np.float32) - 128
    light = y.astype(np.float32)
    light -= 16
    light *= np.float32(_LUMA)
    light += 0.5  # rounds half up when it is cut to whole numbers
    chroma = (_RED_OF_V * v, -_GREEN_OF_U * u - _GREEN_OF_V * v, _BLUE_OF_U * u)
    for channel, shift in enumerate(chroma):
        values = shift.repeat(size[1], axis=1)
        if size[0] > 1:
            values = values.repeat(size[0], axis=0)
        values += light
        rgb[..., channel] = np.clip(values, 0, 255, out=values)
