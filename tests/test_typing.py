"""A user's type checker sees the public names, their arguments and their types."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tosa_ros

ROOT = Path(__file__).parents[1]
RIGHT = """
import numpy as np

from tosa_ros import Answer, Frame, Intrinsics, ToSA, VqaPipeline, merge_tokens
from tosa_ros.merging import MergingMethod, SpatialTokens
from tosa_ros.spatial import SpatialTokens as Places


def ask(rgb: np.ndarray, depth: np.ndarray) -> str:
    method: MergingMethod = ToSA(keep=0.5, alpha=[0.1, 0.9], merge_at=(1, 2))
    pipeline = VqaPipeline.from_pretrained('folder', merging=method)
    camera = Intrinsics(520.9, 521.0, 325.1, 249.7, 640, 480)
    answer: Answer = pipeline.ask([Frame(rgb, depth_m=depth, intrinsics=camera)], 'what?')
    return answer.text


def places(tokens: Places) -> SpatialTokens:
    return tokens
"""
HEAD = """
from tosa_ros import Frame, ToMe, ToSA, VqaPipeline, merge_tokens
from tosa_ros.merging import SpatialTokens
"""
WRONG = {
    'ToSA(kep=0.5)': 'Unexpected keyword argument "kep" for "ToSA"',
    "ToMe(alpha='uniform')": 'Unexpected keyword argument "alpha" for "ToMe"',
    "ToSA(keep='half')": 'Argument "keep" to "ToSA" has incompatible type "str"',
    "VqaPipeline.from_pretrained('x', merge=ToMe())": 'Unexpected keyword argument "merge"',
    'Frame(depth=None)': 'Unexpected keyword argument "depth" for "Frame"',
    "merge_tokens(object(), 'tome')": 'has incompatible type "str"; expected "MergingMethod"',
    "words: int = VqaPipeline.from_pretrained('x').ask([], 'y').text": 'has type "str"',
    'places: SpatialTokens = object()': 'has type "object", variable has type "SpatialTokens"',
}


def mypy(folder, source):
    (folder / 'snippet.py').write_text(source)
    # Without torch and numpy, whose types take a minute to read; tosa_ros comes from the path.
    options = ['--strict', '--no-site-packages', '--ignore-missing-imports']
    options += ['--config-file=', '--follow-imports=silent', '--cache-dir', str(folder / 'cache')]
    done = subprocess.run(
        [sys.executable, '-m', 'mypy', *options, 'snippet.py'],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, 'MYPYPATH': str(ROOT)},
    )
    return done.returncode, done.stdout


def test_mypy_passes_what_is_right_and_catches_what_is_wrong(tmp_path):
    pytest.importorskip('mypy')
    assert mypy(tmp_path, RIGHT) == (0, 'Success: no issues found in 1 source file\n')
    code, said = mypy(tmp_path, HEAD + '\n'.join(WRONG))
    assert code == 1
    lines = [line for line in said.splitlines() if ': error: ' in line]
    first = len(HEAD.splitlines()) + 1
    for number, (line, error) in enumerate(WRONG.items(), start=first):
        found = [one for one in lines if one.startswith(f'snippet.py:{number}:')]
        assert len(found) == 1, (line, said)
        assert error in found[0], line
    assert len(lines) == len(WRONG)


def test_type_checkers_see_every_public_name():
    tree = ast.parse((ROOT / 'tosa_ros' / '__init__.py').read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: one.module
        for one in block.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
        if alias.name == alias.asname
    }
    assert seen == tosa_ros._HOMES


def test_the_marker_of_a_typed_package_ships():
    assert (ROOT / 'tosa_ros' / 'py.typed').is_file()
    assert "'py.typed'" in (ROOT / 'setup.py').read_text()
