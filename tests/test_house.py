"""The house stands as drawn: arrows point one way, importing is light, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'tosa_ros'
BENCHMARKS = PACKAGE.parent / 'benchmarks'
# Small things that every part may use.
EVERYWHERE = {
    'errors': set(),
    'files': {'errors'},
    'fetching': {'errors', 'files'},
    'stats': set(),
    'ahead': set(),
    'registry': {'errors'},
    'settings': {'errors', 'registry'},
    'devices': {'errors'},
    'loading': {'errors'},
    'pictures': {'errors'},
    'tensor_names': set(),
}
# part -> the parts that it imports, beside EVERYWHERE: all of them, and no others.
ARROWS = {
    'merging': set(),
    'spatial': set(),
    'frames': set(),
    'assets': set(),
    'chat_templates': set(),
    'vision': {'merging', 'spatial'},
    'depth': {'frames'},
    'drawing': {'spatial'},
    'endpoint': set(),
    'messages': {'frames', 'depth'},
    'sources': {'frames', 'depth', 'messages'},
    'vlm': {'frames', 'merging', 'spatial', 'vision', 'chat_templates'},
    'pipeline': {'drawing', 'frames', 'merging', 'sources', 'vlm'},
    'engines': {'endpoint', 'frames', 'merging', 'pipeline', 'vlm'},
    'synthetic': {'frames'},
    'training': {'synthetic'},
    'ros': {'assets', 'depth', 'drawing', 'frames', 'merging', 'messages', 'vlm'},
    'evaluation': {
        'chat_templates', 'drawing', 'endpoint', 'frames', 'merging', 'messages', 'pipeline',
        'sources', 'synthetic',
    },
    'cli': {
        'assets', 'depth', 'drawing', 'endpoint', 'engines', 'evaluation', 'frames', 'merging',
        'pipeline', 'ros', 'sources', 'spatial', 'synthetic', 'training', 'vlm',
    },
    # The public names.
    '__init__': {'depth', 'frames', 'merging', 'pipeline', 'vision', 'vlm'},
}  # fmt: skip
# What may be imported while a part's modules load; anything else waits until it is used.
TORCH_ALONE = {'merging': {'torch'}, 'spatial': {'torch'}, 'vision': {'torch'}}


def part_of(path):
    top = path.relative_to(PACKAGE).parts[0]
    return top.removesuffix('.py')


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts).removesuffix('.__init__')


def imports(path, typing=True):
    """What a file imports, by full names; without `typing` not what only type checkers read."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
        if typing or not (isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test)):
            nodes += ast.iter_child_nodes(node)


def modules():
    return sorted(PACKAGE.rglob('*.py'))


def arrows(part):
    """The parts that a part's modules import, wherever in them."""
    names = {
        name.split('.')[1]
        for path in modules()
        if part_of(path) == part
        for name in imports(path)
        if name.startswith('tosa_ros.')
    }
    return names - {part, '__version__'}


def test_every_part_is_drawn():
    assert {part_of(path) for path in modules()} == ARROWS.keys() | EVERYWHERE.keys()


@pytest.mark.parametrize('part', ARROWS)
def test_arrows_are_those_of_the_drawing(part):
    assert arrows(part) - EVERYWHERE.keys() == ARROWS[part]


@pytest.mark.parametrize('part', EVERYWHERE)
def test_shared_parts_import_almost_nothing(part):
    assert arrows(part) == EVERYWHERE[part]


def test_parts_form_no_circle():
    assert circle({part: arrows(part) for part in ARROWS.keys() | EVERYWHERE.keys()}) == []


def test_modules_form_no_circle():
    names = {module_name(path): path for path in modules()}
    drawn = {name: set() for name in names}
    for name, path in names.items():
        for imported in imports(path, typing=False):
            while imported not in names and imported:
                imported = imported.rpartition('.')[0]
            if imported not in ('', 'tosa_ros', name):
                drawn[name].add(imported)
    assert circle(drawn) == []


def circle(graph):
    """One circle of a graph, as a path that ends where it starts; [] where there is none."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        path.append(node)
        found = next(filter(None, map(visit, sorted(graph.get(node, ())))), [])
        path.pop()
        done.add(node)
        return found

    return next(filter(None, map(visit, sorted(graph))), [])


def test_circles_are_found():
    assert circle({'a': {'b'}, 'b': {'c'}, 'c': {'b'}}) == ['b', 'c', 'b']
    assert circle({'a': {'b', 'c'}, 'b': {'c'}, 'c': set()}) == []


def test_benchmarks_use_the_package_below_the_command_line():
    for path in BENCHMARKS.rglob('*.py'):
        for name in imports(path):
            assert not name.startswith('tosa_ros.cli'), path
    for path in modules():
        assert not any(name.split('.')[0] == 'benchmarks' for name in imports(path)), path


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


LIGHT = """
import sys
import tosa_ros.files, tosa_ros.registry, tosa_ros.settings, tosa_ros.stats
import tosa_ros.messages, tosa_ros.sources, tosa_ros.sources.bags
print(sorted({'torch', 'transformers', 'rclpy', 'rosbags', 'apsw', 'av'} & set(sys.modules)))
"""


def test_small_things_messages_and_sources_need_no_torch():
    out = subprocess.run([sys.executable, '-c', LIGHT], check=True, capture_output=True, text=True)
    assert out.stdout == '[]\n'


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
