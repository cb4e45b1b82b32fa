"""Faults where a program touches the disk: the n-th call under a folder fails, or kills.

Counts what changes files below the folder: os.open for writing, write, fsync, ftruncate, replace,
unlink, mkdir, rmdir, and what `io.open` (so Path.write_bytes) does to a file opened for writing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# kill: killed before the call. torn: killed after it, a write being half done. EIO, ENOSPC: the
# call fails. full: so does everything after it that needs room. short: half is written, once.
MODES = ('kill', 'torn', 'EIO', 'ENOSPC', 'full', 'short')
_NEED_ROOM = ('open', 'write', 'mkdir', 'fsync')


class Faults:
    """Puts itself before the calls of this process; meant for a process that then ends.

    at: which call fails, counted from 1; 0 is none. calls: what was counted, by name.
    """

    def __init__(self, root: Path, at: int = 0, mode: str = 'kill') -> None:
        self.root, self.at, self.mode = os.path.realpath(root), at, mode
        self.calls: list[str] = []
        self._write = os.write

    def install(self) -> None:
        for name in ('write', 'fsync', 'ftruncate', 'replace', 'unlink', 'mkdir', 'rmdir'):
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        os.open = self._wrapped('open', os.open, lambda _, flags, *more: flags & _CHANGES)
        plain = io.open

        def raw(file: Any, mode: str = 'r', *args: Any, **more: Any) -> Any:
            ours = not isinstance(file, int) and self._is_ours(file)
            if not ours or not set('wxa+') & set(mode) or more.get('opener'):
                return plain(file, mode, *args, **more)
            assert 'b' in mode, f'{file}: written past the functions of files.py'
            return _File(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))

        io.open = raw

    def _is_ours(self, place: Any) -> bool:
        path = f'/proc/self/fd/{place}' if isinstance(place, int) else place
        return f'{os.path.realpath(path)}/'.startswith(f'{self.root}/')

    def _wrapped(
        self, name: str, real: Callable, counts: Callable[..., Any] = lambda *_: True
    ) -> Callable:
        def call(place: Any, *args: Any, **more: Any) -> Any:
            if not self._is_ours(place) or not counts(place, *args):
                return real(place, *args, **more)
            self.calls.append(name)
            number = len(self.calls)
            if self.mode == 'full' and self.at and number > self.at and name in _NEED_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if number == self.at:
                return self._fail(name, real, place, args, more)
            return real(place, *args, **more)

        return call

    def _fail(self, name: str, real: Callable, place: Any, args: tuple, more: dict) -> Any:
        if self.mode in ('EIO', 'ENOSPC', 'full'):
            number = errno.EIO if self.mode == 'EIO' else errno.ENOSPC
            if name == 'write':  # A disk may take some of it before it is full.
                self._write(place, bytes(args[0])[: len(args[0]) // 2])
            raise OSError(number, os.strerror(number))
        if self.mode == 'short':
            if name != 'write' or len(args[0]) < 2:
                return real(place, *args, **more)
            return self._write(place, bytes(args[0])[: len(args[0]) // 2])
        if self.mode == 'torn':
            if name == 'write':
                self._write(place, bytes(args[0])[: len(args[0]) // 2])
            else:
                with contextlib.suppress(OSError):  # As unlink of a file that is not there.
                    real(place, *args, **more)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError('unreachable')


_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class _File(io.RawIOBase):
    """A file whose writes go through os.write, where faults are."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast('B'), 0
        while done < len(view):  # As C's own loop does with short writes.
            done += os.write(self._descriptor, view[done:])
        return done

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
