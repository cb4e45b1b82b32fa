"""timm without torchvision, from where `make` puts it: .venv/timm.

timm imports torchvision for transforms, data sets and one layer that vision transformers do not
have. The torch that is pinned here has no torchvision beside it: PyPI's is built for CUDA and
fails to import. So where the real one is missing, names stand in for it while timm is imported,
and for no longer: transformers must not take them for torchvision.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class _Names(type):
    """A class that has every attribute, each another such class."""

    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return _Names(name, (), {})


class _Module(ModuleType):
    def __getattr__(self, name):
        return getattr(_Names(self.__name__, (), {}), name)


class _StandIn(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        mine = name.partition('.')[0] == 'torchvision'
        return ModuleSpec(name, self, is_package=True) if mine else None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


FOLDER = Path(sys.prefix) / 'timm'


def timm() -> ModuleType:
    """The real timm; ImportError where it is not installed."""
    if 'timm' in sys.modules:
        return sys.modules['timm']
    if FOLDER.is_dir():
        sys.path.append(str(FOLDER))
    try:
        importlib.import_module('torchvision')
    except (ImportError, RuntimeError):
        warnings.warn('no torchvision fits this torch: timm is imported without it', stacklevel=2)
        return _without_torchvision()
    return importlib.import_module('timm')


def _without_torchvision() -> ModuleType:
    _forget_torchvision()
    stand_in = _StandIn()
    sys.meta_path.insert(0, stand_in)
    try:
        return importlib.import_module('timm')
    finally:
        sys.meta_path.remove(stand_in)
        _forget_torchvision()


def _forget_torchvision() -> None:
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]
