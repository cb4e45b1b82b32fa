"""`tosa info`: versions, devices, what is installed and what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
from typing import Any

from tosa_ros import __version__
from tosa_ros.cli import options

REQUIRED = ('torch', 'transformers', 'numpy', 'pillow', 'safetensors', 'tqdm')
# module that proves it, extra that brings it, what it is for
OPTIONAL = (
    ('rclpy', 'ros', 'the ROS 2 nodes (on a robot: source your ROS distribution instead)'),
    ('open3d', 'pointcloud', 'point clouds and the tiny world'),
    ('rosbags', 'eval', 'rosbag replay'),
    ('av', 'eval', 'video benchmarks'),
    ('matplotlib', 'eval', 'plots in reports'),
    ('onnxruntime', 'export', 'exported towers: .onnx'),
    ('openvino', 'export', 'exported towers: .xml'),
)


EPILOG = """example:
  tosa info --json"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'info', help='list versions, devices and missing packages', epilog=EPILOG
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    facts = collect()
    if args.json:
        options.print_json(facts)
        return 0
    print(f'tosa_ros {facts["tosa_ros"]}, Python {facts["python"]}, {facts["platform"]}')
    print('packages: ' + ', '.join(f'{k} {v or "MISSING"}' for k, v in facts['packages'].items()))
    for device in facts['devices']:
        print(f'device: {device["name"]} ({device["what"]})')
    for name, part in facts['optional'].items():
        state = (
            'installed'
            if part['installed']
            else f"missing: pip install 'tosa_ros[{part['extra']}]'"
        )
        print(f'{name}: {state} - for {part["for"]}')
    return 0


def collect() -> dict[str, Any]:
    """Facts about this installation, as plain values."""
    return {
        'tosa_ros': __version__,
        'python': platform.python_version(),
        'platform': platform.platform(terse=True),
        'packages': {name: _version(name) for name in REQUIRED},
        'devices': _devices(),
        'optional': {
            module: {
                'installed': importlib.util.find_spec(module) is not None,
                'extra': extra,
                'for': purpose,
            }
            for module, extra, purpose in OPTIONAL
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[dict[str, str]]:
    import torch

    devices = [{'name': 'cpu', 'what': f'{torch.get_num_threads()} threads'}]
    for i in range(torch.cuda.device_count()):
        devices.append({'name': f'cuda:{i}', 'what': torch.cuda.get_device_name(i)})
    if torch.backends.mps.is_available():
        devices.append({'name': 'mps', 'what': 'Apple GPU'})
    return devices
