"""constraints.txt and every extra can be installed on each Python that the package names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_INDEX = re.compile(r'dns error|[Cc]ould not connect|error sending request|timed out')


def installed_extras() -> list[str]:
    """The extras that `make` installs."""
    makefile = (ROOT / 'Makefile').read_text()
    return re.search(r'^EXTRAS := (.+)$', makefile, flags=re.MULTILINE)[1].split(',')


def pinned() -> list[str]:
    lines = (ROOT / 'constraints.txt').read_text().splitlines()
    return sorted({line.split('==')[0] for line in lines if '==' in line})


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12', '3.13'])
def test_constraints_resolve(python, tmp_path):
    uv = shutil.which('uv') or Path(sys.executable).with_name('uv')
    command = [str(uv), 'pip', 'compile', '--quiet', '--python-version', python]
    command += [word for extra in installed_extras() for word in ('--extra', extra)]
    # What is pinned must come as a wheel: nobody builds numpy from source to try a demo.
    command += [word for name in pinned() for word in ('--only-binary', name)]
    command += ['--constraint', 'constraints.txt', '--output-file', str(tmp_path / 'lock.txt')]
    ran = subprocess.run([*command, 'setup.py'], cwd=ROOT, capture_output=True, text=True)
    if ran.returncode and NO_INDEX.search(ran.stderr):
        pytest.skip(f'no package index is reachable: {ran.stderr.strip().splitlines()[-1]}')
    assert ran.returncode == 0, ran.stderr
    lock = (tmp_path / 'lock.txt').read_text()
    assert re.search(r'^torch==2\.', lock, flags=re.MULTILINE)
    assert re.search(r'^ros-rclpy==', lock, flags=re.MULTILINE)
