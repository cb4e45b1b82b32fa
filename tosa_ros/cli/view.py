"""`tosa view`: how each method merges the tokens of frames, as a picture, figures, a cloud."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import console, merging, options
from tosa_ros.cli.frames import add_frame_options, frames_from
from tosa_ros.cli.parsing import UsageError, refuse
from tosa_ros.errors import FrameError, MissingDependencyError
from tosa_ros.files import whole_file
from tosa_ros.settings.merging import ALL

if TYPE_CHECKING:
    import numpy as np

    from tosa_ros.frames import Frame
    from tosa_ros.vlm import VisionEncoder, VisualTokens

TOWERS = ('so400m', 'clip-l-336')


EPILOG = """examples:
  tosa view desk.jpg --tower so400m --keep 0.1 --out desk.png
  tosa view frames/kitchen --frames 3 --method tosa --method tome"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'view', help='draw and measure how each method merges tokens', epilog=EPILOG
    )
    parser.add_argument(
        'paths',
        nargs='*',
        metavar='PATH',
        help='image files, or one folder of frames or photos, video or bag',
    )
    parser.loose = 'paths'
    add_frame_options(parser)
    random = f'{" or ".join(TOWERS)}: this tower with random weights instead of a model; else a '
    tower_help = f'{random}file that `tosa export` made of it'
    options.add_model_options(parser, answers=False, tower_help=tower_help)
    merging.add_method_options(parser, several=ALL)
    parser.add_argument('--out', metavar='OUT.png', help='picture to write (tosa-view.png)')
    parser.add_argument(
        '--cloud',
        metavar='OUT.ply',
        help="write a point cloud, coloured by the first method's tokens",
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    names = args.method or ALL
    methods = merging.methods_from(args, names)
    if args.tower in TOWERS:
        kept = ('--model', '--quantize', '--attn', '--revision')
        refuse(args, 'changes nothing with --tower', *kept)
    frames = frames_from(args, args.paths, methods.values())
    encoder = _encoder(args)
    views: dict[str, list[VisualTokens]] = {name: [] for name in names}
    jobs = [(name, frame) for name in names for frame in frames]
    for name, frame in console.progress(jobs, len(jobs), 'merging'):
        encoder.merging = methods[name]
        views[name] += encoder.encode([frame])
    figures = {name: _figures(encoder, frames, views[name]) for name in names}
    out = args.out or (None if args.json else 'tosa-view.png')
    if out:
        options.save_picture(out, picture(encoder, frames, views))
    if args.cloud:
        write_cloud(args.cloud, encoder, frames, views[names[0]])
    if args.json:
        options.print_json({'methods': figures, 'frames': len(frames), 'picture': out})
    else:
        _print_table(figures, out)
    return 0


def _encoder(args: argparse.Namespace) -> VisionEncoder:
    from tosa_ros.merging import NoMerging
    from tosa_ros.vlm import VisionEncoder

    device, dtype = args.device, options.dtype_from(args)
    if args.tower in TOWERS:
        for option in ('--tiles', '--compile'):
            if option in args.given:
                raise UsageError(f"{option}: it is a model's, and --tower is a tower alone")
        from tosa_ros.vlm.untrained import random_vision_encoder

        console.note(
            f'the {args.tower} tower has random weights: its keys see colour and texture, not '
            'meaning'
        )
        return random_vision_encoder(args.tower, device=device, dtype=dtype)
    return VisionEncoder.from_pretrained(
        options.model_path(args),
        merging=None if args.tower else NoMerging(),
        device=device,
        dtype=dtype,
        tiles=bool(args.tiles),
        **options.weights_from(args),
        tower=args.tower,
        compile=options.compiled(args),
    )


def _figures(
    encoder: VisionEncoder, frames: list[Frame], views: list[VisualTokens]
) -> dict[str, Any]:
    rows = [_frame_figures(encoder, *pair) for pair in zip(frames, views, strict=True)]
    mean = {key: _mean([row[key] for row in rows]) for key in ('depth_spread_m', 'edge_straddle')}
    tokens = rows[0]['tokens']
    same = all(row['tokens'] == tokens for row in rows)
    return {
        'tokens': tokens if same else _mean([row['tokens'] for row in rows]),
        'tokens_before': rows[0]['tokens_before'],
        **mean,
        'by_frame': rows,
    }


def _frame_figures(
    encoder: VisionEncoder, frame: Frame, tokens: VisualTokens
) -> dict[str, float | int | str]:
    import torch

    from tosa_ros.spatial import depth_spread, edge_straddle

    source, grids = encoder.patches(frame, tokens)
    figures = {
        'tokens': len(tokens),
        'tokens_before': tokens.before,
        'spatial': tokens.spatial,
        'depth_spread_m': float('nan'),
        'edge_straddle': float('nan'),
    }
    if frame.depth_m is not None:
        seen = torch.tensor(frame.depth_m), grids, torch.from_numpy(source)
        figures['depth_spread_m'] = depth_spread(*seen)
        figures['edge_straddle'] = edge_straddle(*seen)
    return figures


def _mean(values: list[float]) -> float:
    known = [v for v in values if v == v]
    return sum(known) / len(known) if known else float('nan')


def picture(
    encoder: VisionEncoder, frames: list[Frame], views: dict[str, list[VisualTokens]]
) -> np.ndarray:
    """A row a frame: colour, depth, and the merged tokens of each method."""
    from tosa_ros.drawing import draw_depth, draw_tokens, side_by_side, token_map

    rows = []
    for i, frame in enumerate(frames):
        relative = frame.depth_m is None
        depth = frame.relative_depth if relative else frame.depth_m
        name = 'no depth' if depth is None else 'relative depth' if relative else 'depth'
        row = [
            (f'frame {i}', frame.rgb),
            (name, draw_depth(depth, frame.rgb.shape[:2], nearest_high=relative)),
        ]
        for method, tokens in views.items():
            drawn = draw_tokens(frame.rgb, token_map(*encoder.patches(frame, tokens[i])))
            row.append((f'{method}: {len(tokens[i])} of {tokens[i].before}', drawn))
        rows.append(row)
    return side_by_side(rows)


def write_cloud(
    path: str, encoder: VisionEncoder, frames: list[Frame], views: list[VisualTokens]
) -> None:
    """A PLY of all valid depth pixels, coloured by token: world frame with poses, else camera."""
    import numpy as np

    try:
        import open3d as o3d
    except ImportError as error:
        raise MissingDependencyError('open3d', 'pointcloud', '--cloud') from error
    from tosa_ros.drawing import token_map

    points, colours = [], []
    for i, (frame, tokens) in enumerate(zip(frames, views, strict=True)):
        if not frame.has_metric_points:
            raise FrameError(f'--cloud: frame {i} has no depth in metres or no intrinsics')
        if frame.pose is None and len(frames) > 1:
            raise FrameError(f'--cloud: frame {i} of {len(frames)} has no pose to place it by')
        xyz, colour = _token_points(frame, token_map(*encoder.patches(frame, tokens)))
        points.append(xyz)
        colours.append(colour)
    cloud = o3d.geometry.PointCloud()
    cloud.points = o3d.utility.Vector3dVector(np.concatenate(points))
    cloud.colors = o3d.utility.Vector3dVector(np.concatenate(colours))
    target = Path(path)
    with whole_file(target) as partial:
        if target.suffix != '.ply' or not o3d.io.write_point_cloud(str(partial), cloud):
            raise FrameError(f'--cloud {path}: cannot be written; wanted a .ply file in a folder')


def _token_points(frame: Frame, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (M, 3) metres and colours (M, 3) in 0..1 of a frame's valid pixels."""
    import numpy as np

    k = frame.intrinsics
    v, u = np.nonzero(np.isfinite(frame.depth_m))
    z = frame.depth_m[v, u].astype(np.float64)
    xyz = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z], axis=1)
    if frame.pose is not None:
        xyz = xyz @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    # A colour a token, far apart for neighbours: the golden angle around the hue circle.
    hue = (tokens[v, u] * 0.61803) % 1.0
    wheel = np.abs(((hue[:, None] * 6 + np.array([0, 4, 2])) % 6) - 3) - 1
    colour = np.where(tokens[v, u, None] >= 0, wheel.clip(0, 1), 0.5)
    return xyz, colour


def _print_table(figures: dict[str, dict], out: str | None) -> None:
    print(f'{"method":8} {"tokens":>12} {"depth spread":>13} {"over an edge":>13}')
    for name, row in figures.items():
        spread = f'{row["depth_spread_m"] * 100:.1f} cm' if _known(row['depth_spread_m']) else '-'
        share = f'{row["edge_straddle"]:.1%}' if _known(row['edge_straddle']) else '-'
        kept = f'{row["tokens"]:g} of {row["tokens_before"]}'
        print(f'{name:8} {kept:>12} {spread:>13} {share:>13}')
    if out:
        print(f'picture: {out}')


def _known(value: float) -> bool:
    return value == value
