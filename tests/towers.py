"""Tiny vision towers of every kind, by their names in benchmarks.adapters."""

from __future__ import annotations

import pytest

from benchmarks import adapters


def timm_or_skip():
    try:
        return adapters.timm()
    except ImportError as error:
        pytest.skip(f'`make` installs timm in .venv/timm, but {error}')


def tower(name):
    """The tower, its weights random; skips where it is of timm, and that is not there."""
    if name.startswith('timm'):
        timm_or_skip()
    return adapters.made(name)
