"""Stand-ins: readable copies of a bag's files that rosbags would not read, or not to the end.

A file that was compressed as a whole is decompressed; a .db3 with a write-ahead log beside it,
which holds its newest messages, is copied and the log is written into the copy. The files
themselves are never written, and the copies are within bounds.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.messages.zstd import zstd_library
from tosa_ros.sources.bags.bounded import MAX_RATIO, MAX_SMALL_FILE_BYTES
from tosa_ros.sources.bags.sealed import checkpoint

ZSTD = ('.zstd', '.zst')  # rosbag2's, and that of the command zstd
_METADATA = 'metadata.yaml'
_SPARE_BYTES = 1 << 28  # of the disk, for others
_BLOCK_BYTES = 1 << 20
_HOT_JOURNAL = b'\xd9\xd5\x05\xf9\x20\xa1\x63\xd7'


def needs_stand_in(path: Path) -> bool:
    """Whether a file of a bag can be read only by a stand-in."""
    return path.suffix in ZSTD or has_log(path)


def has_log(path: Path) -> bool:
    """Whether SQLite left a write-ahead log beside a file."""
    return path.suffix == '.db3' and _has_bytes(_beside(path, '-wal'))


def stand_in(path: Path, workshop: Path, notes: Counter[str]) -> Path:
    """A file in `workshop` to read in place of one that needs it; other files are themselves.

    Raises:
        DataError: it is damaged, or larger than may be.
        MissingDependencyError: zstd is not installed.
    """
    if path.suffix in ZSTD:
        return _decompressed(path, workshop, notes)
    if path.suffix == '.db3':
        _note_journal(path, notes)
        if has_log(path):
            return _checkpointed(path, workshop, notes)
    return path


def stand_in_folder(folder: Path, files: list[Path], workshop: Path, *, logged: bool) -> bool:
    """Makes `workshop` a bag's folder of these files, by the metadata of the bag's own folder.

    logged: of a bag with a log the metadata say too little, so that they serve only where they
    must: where the messages are compressed one by one.

    Returns:
        False where the metadata cannot be used.
    """
    metadata = _metadata(folder)
    information = metadata.get('rosbag2_bagfile_information', {})
    listed = map(Path, listed_files(folder))
    names = [path.stem if path.suffix in ZSTD else path.name for path in listed]
    mode = str(information.get('compression_mode')).lower()
    if sorted(names) != sorted(file.name for file in files) or (logged and mode != 'message'):
        return False
    information['relative_file_paths'] = names
    if mode == 'file':
        information['compression_mode'] = information['compression_format'] = ''
    for file in files:
        if file.parent != workshop:
            (workshop / file.name).symlink_to(file.resolve())
    # JSON is YAML too.
    (workshop / _METADATA).write_text(json.dumps(metadata, default=str), encoding='utf-8')
    return True


def listed_files(folder: Path) -> list[str]:
    """The names of a bag's files by its metadata; none where they cannot be read."""
    information = _metadata(folder).get('rosbag2_bagfile_information', {})
    return [Path(str(name)).name for name in information.get('relative_file_paths') or []]


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
    except ImportError as error:  # It comes with rosbags.
        raise MissingDependencyError('rosbags', 'eval', 'reading a bag') from error
    try:
        metadata = YAML(typ='safe').load((folder / _METADATA).read_text(encoding='utf-8'))
        information = metadata['rosbag2_bagfile_information']
        list(information.get('relative_file_paths') or [])
    except (OSError, ValueError, TypeError, LookupError, AttributeError, YAMLError):
        return {}
    return metadata


def _decompressed(path: Path, workshop: Path, notes: Counter[str]) -> Path:
    zstd = zstd_library()
    made = workshop / path.stem
    most = max(MAX_SMALL_FILE_BYTES, MAX_RATIO * path.stat().st_size)
    left = min(most, _free_bytes(workshop))
    try:
        with zstd.open(path, 'rb') as source, made.open('xb') as target:
            while block := source.read1(_BLOCK_BYTES):  # as much as there is before damage
                left -= len(block)
                if left < 0:
                    raise DataError(_too_large(path, workshop, most))
                target.write(block)
    except (zstd.ZstdError, EOFError) as error:
        if not made.stat().st_size:
            raise DataError(f'{path}: cannot be decompressed: {error}') from error
        notes[f'{path}: is damaged ({error}); the part before is used'] = 1
    return made


def _checkpointed(path: Path, workshop: Path, notes: Counter[str]) -> Path:
    import apsw

    made, log = workshop / path.name, _beside(path, '-wal')
    # The log's pages come on top of those that the file has.
    size = path.stat().st_size + 2 * log.stat().st_size
    if size > _free_bytes(workshop):
        raise DataError(_too_large(path, workshop, size))
    shutil.copyfile(path, made)
    shutil.copyfile(log, _beside(made, '-wal'))
    try:
        checkpoint(made)
    except apsw.Error as error:
        notes[f'{log}: cannot be read ({error}): the newest messages are missing'] = 1
        shutil.copyfile(path, made)
    finally:
        for end in ('-wal', '-shm'):
            with contextlib.suppress(FileNotFoundError):
                _beside(made, end).unlink()
    notes[f'{path}: its newest messages are in {log.name}, which is read too'] = 1
    return made


def _note_journal(path: Path, notes: Counter[str]) -> None:
    """A log of what to undo: SQLite would follow it to other files, so that nothing does here."""
    journal = _beside(path, '-journal')
    with contextlib.suppress(OSError), journal.open('rb') as file:
        if file.read(len(_HOT_JOURNAL)) == _HOT_JOURNAL:
            notes[
                f'{path}: its last writing was interrupted ({journal.name} is there), so that its '
                'newest messages may be damaged'
            ] = 1


def _free_bytes(folder: Path) -> int:
    return max(0, shutil.disk_usage(folder).free - _SPARE_BYTES)


def _too_large(path: Path, workshop: Path, most: int) -> str:
    return (
        f'{path}: more than {min(most, _free_bytes(workshop)) >> 20} MiB when it is copied to '
        f'{workshop.parent}, which is as much as is allowed and free there (TMPDIR names another '
        'place)'
    )


def _has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
