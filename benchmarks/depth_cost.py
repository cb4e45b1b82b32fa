"""What depth costs a frame: from a sensor's 16 bits to visual tokens, beside colour alone.

    python -m benchmarks.depth_cost --doc docs/performance.md

The embedded model, one frame at a time, in turns. ratio: median over turns of the time with depth
divided by that without.
"""

from __future__ import annotations

import argparse
from statistics import median

import numpy as np

from benchmarks.measuring import alternate, parser, ratio, report, setup
from tosa_ros.assets import embedded_model
from tosa_ros.depth import SensorDepth
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.merging import ToSA
from tosa_ros.vlm import VisionEncoder

SIZES = ('640x480', '1280x720', '1920x1080')
MISSING = 0.1  # of the pixels, in blocks, as a sensor loses areas and not pixels
BLOCK_PX = 24


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=40)
    options.add_argument('--sizes', nargs='+', default=list(SIZES), metavar='WIDTHxHEIGHT')
    options.add_argument('--keep', type=float, default=0.25)
    args = options.parse_args(argv)
    setup(args)
    encoder = VisionEncoder.from_pretrained(embedded_model(), merging=ToSA(keep=args.keep))
    report('depth-cost', args, [row(encoder, size, args) for size in args.sizes])
    return 0


def row(encoder: VisionEncoder, size: str, args: argparse.Namespace) -> dict:
    width, height = (int(side) for side in size.split('x'))
    rgb, raw = picture(width, height)
    camera = Intrinsics(0.8 * width, 0.8 * width, width / 2, height / 2, width, height)
    sensor = SensorDepth(scale=1000)

    def colour() -> None:
        encoder.encode([Frame(rgb=rgb)])

    def depth() -> None:
        metres = sensor.from_array(raw)
        encoder.encode([Frame(rgb=rgb, depth_m=metres, intrinsics=camera)])

    times = alternate({'colour': colour, 'depth': depth}, args.repeats)
    return {
        'image': size,
        'colour ms': f'{median(times["colour"]):.1f}',
        'with depth ms': f'{median(times["depth"]):.1f}',
        'ratio': f'{ratio(times, "depth", "colour"):.2f}',
    }


def picture(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour (H, W, 3) uint8 of noise, and a wavy slope (H, W) uint16 in mm with holes."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    v, u = np.mgrid[:height, :width]
    raw = (1500 + 500 * np.sin(u / 200) + v).astype(np.uint16)
    missing = rng.random((height // BLOCK_PX + 1, width // BLOCK_PX + 1)) < MISSING
    raw[missing.repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)[:height, :width]] = 0
    return rgb, raw


if __name__ == '__main__':
    raise SystemExit(main())
