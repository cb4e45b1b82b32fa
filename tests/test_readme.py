"""What a newcomer pastes from the README runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()


def test_the_snippet_runs_as_pasted(tmp_path):
    (snippet,) = re.findall(r'```python\n(.*?)```', README, flags=re.DOTALL)
    ran = subprocess.run(
        [sys.executable, '-c', snippet], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == 'orange from 64 of 256 tokens\non'


def test_there_is_one_picture_and_it_is_small():
    (picture,) = re.findall(r'!\[[^\]]+\]\(([^)]+)\)', README)
    assert (ROOT / picture).stat().st_size < 200_000
    Image.open(ROOT / picture).verify()


def test_the_citation_names_the_version_and_the_papers():
    yaml = pytest.importorskip('yaml', reason='pyyaml comes with the docs and ros extras')
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    assert f"version='{citation['version']}'" in (ROOT / 'setup.py').read_text()
    assert 'https://arxiv.org/abs/2506.20066' in {r['url'] for r in citation['references']}
