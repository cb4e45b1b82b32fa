"""Files and folders at URLs, as fsspec reads them: copied here once, then read like any others."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tosa_ros.errors import DataError, printable
from tosa_ros.files import cache_folder, whole_folder

_URL = re.compile(r'[a-zA-Z][a-zA-Z0-9+.-]+://')


class Url(str):
    """An address such as s3://bucket/frames, file:///data or https://host/questions.json."""


def path_or_url(text: str) -> Path | Url:
    """What an option names."""
    return Url(text) if _URL.match(text) else Path(text)


def local(place: Path | Url) -> Path:
    """A path as it is; of a URL the path of a whole copy on this machine, made at first use.

    Copies are in $XDG_CACHE_HOME/tosa_ros/data, by default under ~/.cache; remove them there.
    What changes at the URL later is not seen.

    Raises:
        DataError: it cannot be read, or nothing is there.
    """
    if not isinstance(place, Url):
        return place
    name = place.rstrip('/').rpartition('/')[2] or 'data'
    key = hashlib.sha256(place.encode()).hexdigest()[:16]
    folder = cache_folder('data') / key
    if not folder.exists():
        with whole_folder(folder, DataError) as made:
            made.mkdir()
            _copy(place, made / name)
    return folder / name


def _copy(url: Url, target: Path) -> None:
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
        if not files.exists(path):
            raise FileNotFoundError('nothing is there')
        files.get(path.rstrip('/'), str(target), recursive=files.isdir(path))
    except Exception as error:  # Each kind of store raises what its own library does.
        reason = printable(f'{type(error).__name__}: {error}')
        raise DataError(f'{_shown(url)}: cannot be read: {reason}') from error


def _shown(url: str) -> str:
    """Without a user and password."""
    return re.sub(r'//[^/@]*@', '//', url)
