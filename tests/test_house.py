"""The house stands as drawn: arrows point one way, importing is light, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'tosa_ros'
EVERYWHERE = {
    'errors',
    'devices',
    'files',
    'loading',
    'pictures',
    'registry',
    'settings',
    'stats',
    '__init__',
}
# part -> the parts it may import, beside itself and EVERYWHERE
ARROWS = {
    'registry': set(),
    'settings': set(),
    'merging': set(),
    'spatial': set(),
    'frames': set(),
    'vision': {'merging', 'spatial'},
    'depth': {'frames'},
    'messages': {'frames', 'depth'},
    'sources': {'frames', 'depth', 'messages'},
    'drawing': {'spatial'},
    'chat_templates': set(),
    'vlm': {'frames', 'merging', 'spatial', 'vision', 'chat_templates'},
    'assets': set(),
    'pipeline': {'frames', 'merging', 'vlm'},
    'synthetic': {'frames'},
    'training': {'frames', 'synthetic', 'vlm', 'assets'},
}
# What may be imported while a part's modules load; anything else waits until it is used.
TORCH_ALONE = {'merging': {'torch'}, 'spatial': {'torch'}, 'vision': {'torch'}}


def part_of(path):
    top = path.relative_to(PACKAGE).parts[0]
    return top.removesuffix('.py')


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def modules():
    return sorted(PACKAGE.rglob('*.py'))


@pytest.mark.parametrize('part', ARROWS)
def test_arrows_point_one_way(part):
    allowed = ARROWS[part] | EVERYWHERE | {part}
    for path in modules():
        if part_of(path) != part:
            continue
        for name in imports(path):
            if name.startswith('tosa_ros.'):
                assert name.split('.')[1] in allowed, f'{path} imports {name}'


def test_only_ros_imports_rclpy():
    for path in modules():
        if part_of(path) not in ('ros', 'cli'):
            assert not any(name.split('.')[0] == 'rclpy' for name in imports(path)), path


@pytest.mark.parametrize('part', TORCH_ALONE)
def test_the_core_imports_torch_alone(part):
    for path in modules():
        if part_of(path) != part:
            continue
        for name in imports(path):
            top = name.split('.')[0]
            assert top in TORCH_ALONE[part] | {'tosa_ros'} | set(sys.stdlib_module_names), name


IMPORT = """
import sys, time
start = time.perf_counter()
import tosa_ros
took = time.perf_counter() - start
heavy = {'torch', 'transformers', 'open3d', 'rclpy', 'ray', 'numpy'} & set(sys.modules)
print(took, ','.join(sorted(heavy)))
assert tosa_ros.ToSA(keep=0.5).keep == 0.5
assert 'transformers' not in sys.modules
"""


def test_importing_the_package_is_light():
    runs = []
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, '-c', IMPORT], check=True, capture_output=True, text=True
        ).stdout.split()
        assert out[1:] == []
        runs.append(float(out[0]))
    assert min(runs) < 0.3


def test_every_public_name_loads():
    import tosa_ros

    for name in tosa_ros.__all__:
        assert getattr(tosa_ros, name).__name__ == name
    with pytest.raises(AttributeError, match='no attribute'):
        _ = tosa_ros.absent


def test_files_can_be_read_in_one_sitting():
    long = {str(p): n for p in modules() if (n := len(p.read_text().splitlines())) > 420}
    assert not long
