"""Benchmarks' parquet files, one or a folder of them, as the Hugging Face hub has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, FrameError, MissingDependencyError

SUFFIX = '.parquet'


def is_table(path: Path) -> bool:
    """Whether a path is a parquet file, or a folder that holds some."""
    return path.suffix == SUFFIX or (path.is_dir() and any(path.glob(f'*{SUFFIX}')))


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file, or of all that a folder holds, in the order of their names.

    Raises:
        DataError: nothing there, or a file that is no parquet.
        MissingDependencyError: pyarrow is not installed.
    """
    return [row for file in table_files(path) for row in _opened(file).read().to_pylist()]


def table_files(path: Path) -> list[Path]:
    """The parquet file, or those of a folder."""
    if path.suffix == SUFFIX and not path.is_dir():
        if not path.is_file():
            raise DataError(f'{path}: no such file')
        return [path]
    found = sorted(path.glob(f'*{SUFFIX}'))
    if not found:
        below = sorted({str(file.parent) for file in path.glob(f'*/*{SUFFIX}')})
        hint = f'; name one of {", ".join(below)}' if below else ''
        raise DataError(f'{path}: holds no {SUFFIX} files{hint}')
    return found


class PictureTable:
    """Pictures in parquet files: `id`, and `image` with its `bytes`; decoded when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, tuple[Path, int, int]] = {}
        self._latest: tuple[Path, int, Sequence[Any]] | None = None
        for file in table_files(path):
            table = _opened(file)
            if not {'id', 'image'} <= set(table.schema_arrow.names):
                raise DataError(f'{file}: has no columns id and image; wanted a table of pictures')
            for group in range(table.num_row_groups):
                names = table.read_row_group(group, ['id']).column('id').to_pylist()
                for row, name in enumerate(names):
                    self._rows.setdefault(str(name), (file, group, row))

    def __getitem__(self, name: str) -> bytes:
        """A picture's file as bytes.

        Raises:
            FrameError: there is none of that id.
        """
        if name not in self._rows:
            raise FrameError(f'image {name}: not in {self.path}')
        file, group, row = self._rows[name]
        if self._latest is None or self._latest[:2] != (file, group):
            images = _opened(file).read_row_group(group, ['image']).column('image')
            self._latest = (file, group, images)
        picture = self._latest[2][row].as_py()
        if not isinstance(picture, dict) or not isinstance(picture.get('bytes'), bytes):
            raise FrameError(f'image {name}: {file} holds no bytes of it')
        return picture['bytes']


def _opened(path: Path) -> Any:
    """A pyarrow ParquetFile whose errors are ours."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError('pyarrow', 'eval', f'{path.name}: parquet') from error
    try:
        return parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f'{path}: cannot be read as parquet: {error}') from error
