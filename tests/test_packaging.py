"""What is shipped: the source archive, its metadata, the extras and package.xml."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from email import message_from_string
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / 'tosa_ros').rglob('*.py'))
# Tests that run from the unpacked archive: one of code, one that reads the documents.
SAMPLE = ('tests/test_frames.py', 'tests/test_docs.py::test_linked_and_named_files_exist')
# Of a later Python's own library: imported where it is there.
LATER = {'compression'}
# Wants other versions than the package's own: its users install it into an environment by itself.
APART = {'vllm'}
# What rosdep calls a Python package; None where it has no key and another package brings it.
ROSDEP = {
    'jinja2': 'python3-jinja2',
    'numpy': 'python3-numpy',
    'pillow': 'python3-pil',
    'safetensors': None,
    'tokenizers': None,
    'torch': 'python3-pytorch-pip',
    'tqdm': 'python3-tqdm',
    'transformers': 'python3-transformers-pip',
    'typing-extensions': None,
}


def tracked() -> list[str]:
    if not (ROOT / '.git').exists():
        pytest.skip('an unpacked archive: there is no git to compare it with')
    listed = subprocess.run(['git', 'ls-files'], cwd=ROOT, check=True, capture_output=True)
    return [name for name in listed.stdout.decode().splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope='module')
def unpacked(tmp_path_factory) -> Path:
    """The source archive of what git tracks, built and unpacked."""
    place = tmp_path_factory.mktemp('sdist')
    for name in tracked():
        (place / 'tree' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / 'tree' / name)
    build = [sys.executable, '-m', 'build', '--sdist', '--no-isolation', '--outdir', '.']
    ran = subprocess.run([*build, 'tree'], cwd=place, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (archive,) = place.glob('tosa_ros-*.tar.gz')
    shutil.unpack_archive(archive, place / 'out')
    (root,) = (place / 'out').iterdir()
    return root


@pytest.fixture(scope='module')
def metadata(unpacked):
    return message_from_string((unpacked / 'PKG-INFO').read_text())


@pytest.fixture(scope='module')
def requirements(metadata) -> dict[str, set[str]]:
    """{extra, '' for none: canonical names of the packages it brings}."""
    found: dict[str, set[str]] = {
        extra: set() for extra in ['', *metadata.get_all('Provides-Extra')]
    }
    for line in metadata.get_all('Requires-Dist'):
        requirement = Requirement(line)
        extra = re.search(r'extra == "([\w-]+)"', str(requirement.marker))
        found[extra[1] if extra else ''].add(canonicalize_name(requirement.name))
    return found


def test_the_archive_holds_what_git_tracks(unpacked):
    packed = {str(path.relative_to(unpacked)) for path in unpacked.rglob('*') if path.is_file()}
    assert set(tracked()) - packed == set()
    made = {name for name in packed - set(tracked()) if '.egg-info/' not in name}
    assert made == {'PKG-INFO'}


def test_tests_pass_from_the_unpacked_archive(unpacked):
    environment = {**os.environ, 'PYTHONPATH': str(unpacked)}
    where = 'import tosa_ros; print(tosa_ros.__file__)'
    found = subprocess.check_output(
        [sys.executable, '-c', where], cwd=unpacked, env=environment, text=True
    )
    assert Path(found.strip()).is_relative_to(unpacked)
    ran = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *SAMPLE],
        cwd=unpacked,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert re.search(r'\d{2,} passed', ran.stdout)


def test_metadata_is_complete(metadata):
    assert metadata['Description-Content-Type'] == 'text/markdown'
    assert metadata.get_payload().strip() == (ROOT / 'README.md').read_text().strip()
    assert metadata['Author'] == 'tosa_ros developers'
    assert metadata['License'] or metadata['License-Expression'] == 'Apache-2.0'
    assert metadata['Keywords']
    assert metadata.get_all('Project-URL')
    versions = {c.split(' :: ')[-1] for c in metadata.get_all('Classifier') if ':: 3.' in c}
    assert versions == {'3.10', '3.11', '3.12', '3.13'}


def calls(name: str):
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == name:
                yield path.relative_to(ROOT), node


def test_every_extra_that_an_error_names_brings_the_package(requirements):
    named = {}
    for path, call in calls('MissingDependencyError'):
        package, extra, _ = call.args
        assert isinstance(package, ast.Constant), f'{path}:{call.lineno}: name the package'
        assert isinstance(extra, ast.Constant), f'{path}:{call.lineno}: name the extra'
        named[package.value, extra.value] = f'{path}:{call.lineno}'
    assert len(named) >= 7
    for (package, extra), place in named.items():
        brought = requirements.get(extra, set())
        assert canonicalize_name(package) in brought, f'{place}: {extra} lacks {package}'


def test_every_import_is_of_a_declared_package(requirements):
    declared = set().union(*(requirements[e] for e in requirements if e not in ('dev', 'docs')))
    owners = packages_distributions()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for top in {name.split('.')[0] for name in names}:
                if top not in {'tosa_ros', *LATER, *APART, *sys.stdlib_module_names}:
                    # Of a compiled module Python 3.11 does not know who brings it.
                    brought_by = {canonicalize_name(owner) for owner in owners.get(top, [top])}
                    assert brought_by & declared, f'{path}:{node.lineno}: {top} is not declared'


def test_package_xml_names_what_the_package_needs(metadata, requirements):
    package = ElementTree.parse(ROOT / 'package.xml')
    depends = [element.text for element in package.iterfind('exec_depend')]
    assert len(depends) == len(set(depends))
    assert package.findtext('version') == metadata['Version']
    assert package.findtext('license') == 'Apache-2.0'
    for name in requirements['']:
        key = ROSDEP[name]
        assert key is None or key in depends, f'package.xml lacks {key}'
    messages = {name.removeprefix('ros-').replace('-', '_') for name in requirements['ros']}
    assert messages - {'pyyaml'} <= set(depends)
    assert {'launch', 'launch_ros', 'rviz2', 'python3-rosbags-pip'} <= set(depends)
