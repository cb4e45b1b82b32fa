"""`tosa export`: a model's vision half with its merging as one file that runs without Python's
torch."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tosa_ros.cli import console, merging, options
from tosa_ros.cli.parsing import UsageError

# As `vlm.exported` has them, whose import takes seconds.
FORMATS = ('torch', 'aoti', 'onnx', 'openvino')
DEPTHS = ('metric', 'relative', 'none')

EPILOG = """examples:
  tosa export --format onnx --out tower.onnx
  tosa export llava-hf/... --format openvino --keep 0.1 --out tower.xml
  tosa ask desk.jpg "what is on the desk?" --tower tower.onnx"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'export', help='write a vision tower as ONNX, OpenVINO or a torch program', epilog=EPILOG
    )
    parser.add_argument(
        'checkpoint',
        nargs='?',
        metavar='CHECKPOINT',
        help='checkpoint folder or hub id (the embedded model)',
    )
    parser.add_argument(
        '--format',
        choices=FORMATS,
        required=True,
        help='onnx, openvino; torch: a program of torch.export; aoti: one compiled for this '
        'machine (AOTInductor)',
    )
    parser.add_argument(
        '--out', metavar='FILE', required=True, help='file to write: .onnx, .xml or .pt2'
    )
    parser.add_argument(
        '--depth',
        choices=DEPTHS,
        default='metric',
        help='depth that the file will be given (metric): in metres with the camera, relative, '
        'or none',
    )
    options.add_device_options(parser)
    merging.add_method_options(parser)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    method = merging.method_from(args)
    if not Path(args.out).parent.is_dir():
        raise UsageError(f'--out {args.out}: there is no folder {Path(args.out).parent}')
    from tosa_ros.vlm import VisionEncoder
    from tosa_ros.vlm.exported import export_tower

    args.model = args.checkpoint
    dtype = options.dtype_from(args)
    if dtype is None and args.format in ('onnx', 'openvino'):
        import torch

        dtype = torch.float32
    encoder = VisionEncoder.from_pretrained(
        options.model_path(args), merging=method, device=args.device, dtype=dtype
    )
    console.note('recording the tower, which takes from seconds to minutes')
    facts = export_tower(encoder, args.out, args.format, depth=args.depth)
    if args.json:
        options.print_json(asdict(facts))
    else:
        console.note(
            f'{args.out}: {facts.patches} patches to {facts.tokens} tokens, {facts.options}'
        )
    return 0
