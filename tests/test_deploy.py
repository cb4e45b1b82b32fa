"""Containers, workflows and the release for ROS fit the package that they build."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package import parse_package

from tosa_ros.ros.bringup import launch_arguments

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / 'docker/Dockerfile').read_text()
PAGE = (ROOT / 'docs/deploy.md').read_text()
COMPOSE = yaml.safe_load((ROOT / 'docker/compose.yaml').read_text())
CUDA = yaml.safe_load((ROOT / 'docker/compose.cuda.yaml').read_text())
JOB = yaml.safe_load((ROOT / '.github/workflows/ros.yml').read_text())['jobs']['colcon']
CAMERAS = yaml.safe_load((ROOT / 'config/cameras.yaml').read_text())
DISTRIBUTIONS = {'humble', 'jazzy', 'kilted'}


def arguments() -> dict[str, str]:
    """The Dockerfile's build arguments with defaults."""
    return dict(re.findall(r'^ARG (\w+)=(.+)$', DOCKERFILE, flags=re.MULTILINE))


def extras() -> set[str]:
    """The extras of setup.py."""
    for node in ast.parse((ROOT / 'setup.py').read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == 'EXTRAS':
            return {key.value for key in node.value.keys}
    raise AssertionError('setup.py has no EXTRAS')


def test_the_page_lists_the_build_arguments():
    rows = re.findall(r'^\| `([A-Z_]+)` \| `([^`]+)` \|', PAGE, flags=re.MULTILINE)
    assert dict(rows) == arguments()


def test_the_distributions_are_the_same_everywhere():
    assert {row['distribution'] for row in JOB['strategy']['matrix']['include']} == DISTRIBUTIONS
    (named,) = re.findall(r'^\| `ROS_DISTRO` \| .*? \| (.+) \|$', PAGE, flags=re.MULTILINE)
    assert set(re.findall(r'`(\w+)`', named)) == DISTRIBUTIONS
    assert arguments()['ROS_DISTRO'] in DISTRIBUTIONS


def test_every_extra_that_is_installed_exists():
    python = next(s['run'] for s in JOB['steps'] if 'python_layer' in s.get('run', ''))
    named = {*arguments()['EXTRAS'].split(','), *python.split()[2].split(',')}
    assert named - extras() == set()


def test_the_camera_is_started_as_its_row_says():
    camera, nodes = COMPOSE['services']['camera'], COMPOSE['services']['nodes']
    (name,) = re.findall(r'camera:=(\w+)', nodes['command'])
    assert camera['command'] == CAMERAS[name]['driver']
    driver = arguments()['DRIVER'].replace('-', '_')
    assert camera['command'].startswith(f'ros2 launch {driver} ')


def test_launch_gets_arguments_that_it_has():
    known = {argument.name for argument in launch_arguments()}
    words = shlex.split(COMPOSE['services']['nodes']['command'])
    assert words[:4] == ['ros2', 'launch', 'tosa_ros', 'vqa.launch.py']
    assert {word.partition(':=')[0] for word in words[4:]} <= known
    assert (ROOT / 'launch' / words[3]).exists()


@pytest.mark.parametrize('compose', [COMPOSE, CUDA])
def test_compose_names_what_the_dockerfile_has(compose):
    stages = set(re.findall(r'^FROM .+ AS (\w+)$', DOCKERFILE, flags=re.MULTILINE))
    for service in compose['services'].values():
        build = service['build']
        assert set(build['args']) <= set(arguments())
        assert build.get('target', 'nodes') in stages


def test_containers_share_memory_where_they_share_the_network():
    for service in COMPOSE['services'].values():
        assert service['network_mode'] == service['ipc'] == 'host'


def test_what_the_dockerfile_copies_is_there_and_not_ignored():
    kept = (ROOT / 'docker/Dockerfile.dockerignore').read_text().split('\n')
    for line in re.findall(r'^COPY (.+)$', DOCKERFILE, flags=re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
            assert name == '.' or f'!{name.split("/")[0]}' in kept, name
    # What colcon builds is there too: setup.py's packages and data files.
    for name in ('config', 'launch', 'resource', 'tosa_ros', 'package.xml', 'setup.cfg'):
        assert f'!{name}' in kept
    scripts = re.findall(r'docker/\w+\.sh', DOCKERFILE + str(JOB))
    assert len(set(scripts)) == 3
    for name in scripts:
        assert (ROOT / name).stat().st_mode & 0o111, f'{name} cannot be run'


def test_package_xml_is_valid_and_names_what_the_workflow_runs():
    problems: list[str] = []
    package = parse_package(ROOT / 'package.xml', warnings=problems)
    package.validate(warnings=problems)
    assert problems == []
    tests = {depend.name for depend in package.test_depends}
    assert {'launch_pytest', 'ament_xmllint', 'python3-pytest'} <= tests
    # A key of pip would be installed past Ubuntu's Python: the scripts know it by its name.
    layer = (ROOT / 'docker/ros_layer.sh').read_text()
    (pattern,) = re.findall(r"grep -oE '(.+?)'", layer)
    pips = [d.name for d in package.exec_depends if d.name.endswith('-pip')]
    assert re.findall(pattern, (ROOT / 'package.xml').read_text()) == pips


def test_bloom_finds_the_released_versions():
    markdown = (ROOT / 'CHANGELOG.md').read_text()
    made = runpy.run_path(str(ROOT / '.ci/changelog'))['to_rst'](markdown)
    assert (ROOT / 'CHANGELOG.rst').read_text() == made, '.ci/changelog > CHANGELOG.rst'
    log = get_changelog_from_path(ROOT, 'tosa_ros')
    released = [version for version, _, _ in log.foreach_version(reverse=True)]
    assert released == re.findall(r'^## (\d[\d.]*)', markdown, flags=re.MULTILINE)
    assert parse_package(ROOT / 'package.xml').version in released


def test_a_changelog_keeps_its_lists_and_links():
    to_rst = runpy.run_path(str(ROOT / '.ci/changelog'))['to_rst']
    made = to_rst(
        '# C\n\n## Unreleased\n\n- no\n\n## 1.2.3 (2026-01-02)\n\n### Added\n\n'
        '- `a` ([b](docs/b.md))\n'
    )
    assert made.endswith(
        '1.2.3 (2026-01-02)\n------------------\nAdded:\n\n- ``a`` (`b <docs/b.md>`__)\n'
    )
