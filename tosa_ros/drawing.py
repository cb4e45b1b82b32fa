"""Pictures of frames, depth and merged tokens, as (H, W, 3) uint8 arrays.

Used by the command line and the vision node; draws, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tosa_ros.spatial import PatchGrid

OUTSIDE = -2
# Violet (far) over green to yellow (near), then missing depth in black.
DEPTH_COLOURS = ((48, 18, 100), (50, 90, 190), (30, 160, 140), (110, 200, 80), (250, 230, 60))


def token_map(source: np.ndarray, grids: PatchGrid | Sequence[PatchGrid]) -> np.ndarray:
    """(H, W) int32: the token at each pixel, -1 (pruned), or OUTSIDE the patch grid.

    source (N,): each patch's token, -1 where it was pruned, OUTSIDE where none reads it; the
    patches of several grids one behind the other, of which the finer ones cover the others.
    """
    if isinstance(grids, PatchGrid):
        return _map_of(source, grids)
    ends = np.cumsum([grid.patches for grid in grids])
    maps = zip(grids, np.split(source, ends[:-1]), strict=True)
    drawn = None
    for grid, own in sorted(maps, key=lambda pair: -pair[0].patch_area):
        finer = _map_of(own, grid)
        drawn = finer if drawn is None else np.where(finer == OUTSIDE, drawn, finer)
    return drawn


def _map_of(source: np.ndarray, grid: PatchGrid) -> np.ndarray:
    rows = _patch_of(grid.height, grid.top, grid.bottom, grid.rows)
    cols = _patch_of(grid.width, grid.left, grid.right, grid.cols)
    patch = rows[:, None] * grid.cols + cols[None]
    inside = (rows >= 0)[:, None] & (cols >= 0)[None]
    return np.where(inside, source[np.where(inside, patch, 0)], OUTSIDE).astype(np.int32)


def draw_tokens(rgb: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Each token filled with its mean colour and edged; pruned and outside pixels dimmed."""
    slots = tokens.max() + 1
    kept = tokens >= 0
    index = tokens[kept]
    count = np.bincount(index, minlength=slots).clip(min=1)
    mean = np.stack(
        [np.bincount(index, rgb[..., c][kept], minlength=slots) / count for c in range(3)], axis=1
    )
    picture = (rgb * 0.25).astype(np.uint8)
    picture[kept] = mean[index].round().astype(np.uint8)
    edge = np.zeros(tokens.shape, bool)
    edge[:, :-1] |= tokens[:, :-1] != tokens[:, 1:]
    edge[:-1] |= tokens[:-1] != tokens[1:]
    # Dark on light and light on dark, so that borders show in any room.
    dark = picture.mean(axis=2) < 90
    picture[edge & dark] = 200
    picture[edge & ~dark] = 20
    return picture


def draw_depth(depth: np.ndarray | None, shape: tuple[int, int], nearest_high: bool) -> np.ndarray:
    """Depth (H, W) coloured from far (violet) to near (yellow); missing depth is black.

    nearest_high: True for relative depth (1 nearest), False for metres. None draws all black.
    """
    picture = np.zeros((*shape, 3), np.uint8)
    if depth is None:
        return picture
    valid = np.isfinite(depth)
    near = depth[valid] if nearest_high else 1 / depth[valid]
    low, high = np.percentile(near, (1, 99))
    scaled = ((near - low) / max(high - low, 1e-9)).clip(0, 1) * (len(DEPTH_COLOURS) - 1)
    stops = np.arange(len(DEPTH_COLOURS))
    colours = np.array(DEPTH_COLOURS, np.float64)
    picture[valid] = np.stack(
        [np.interp(scaled, stops, colours[:, c]) for c in range(3)], axis=1
    ).astype(np.uint8)
    return picture


def side_by_side(
    rows: list[list[tuple[str, np.ndarray]]], *, width: int = 320, gap: int = 6
) -> np.ndarray:
    """Captioned pictures in rows, each scaled to `width` pixels."""
    font = ImageFont.load_default(size=14)
    strips = []
    for row in rows:
        tiles = [_captioned(caption, picture, width, font) for caption, picture in row]
        height = max(tile.height for tile in tiles)
        strip = Image.new('RGB', (len(tiles) * (width + gap) - gap, height), 'white')
        for i, tile in enumerate(tiles):
            strip.paste(tile, (i * (width + gap), 0))
        strips.append(strip)
    total = sum(strip.height + gap for strip in strips) - gap
    sheet = Image.new('RGB', (max(strip.width for strip in strips), total), 'white')
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + gap
    return np.asarray(sheet)


def _captioned(
    caption: str, picture: np.ndarray, width: int, font: ImageFont.FreeTypeFont
) -> Image.Image:
    image = Image.fromarray(picture)
    height = max(1, round(image.height * width / image.width))
    # Token edges are one pixel wide: shrinking must not lose them, enlarging must not blur them.
    smooth = image.width > width
    image = image.resize((width, height), Image.Resampling.BOX if smooth else Image.NEAREST)
    tile = Image.new('RGB', (width, height + 22), 'white')
    tile.paste(image, (0, 22))
    ImageDraw.Draw(tile).text((4, 2), caption, fill='black', font=font)
    return tile


def _patch_of(pixels: int, low: float, high: float, count: int) -> np.ndarray:
    """Which of `count` patches between low and high each pixel's centre is in; -1 for none."""
    patch = np.floor((np.arange(pixels) + 0.5 - low) / (high - low) * count).astype(int)
    return np.where((patch >= 0) & (patch < count), patch, -1)
