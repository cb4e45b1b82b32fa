"""Compressed bags: sound ones are read; bombs are refused before they are unpacked."""

from __future__ import annotations

import resource
import sqlite3

import numpy as np
import pytest

from tosa_ros.errors import DataError
from tosa_ros.sources.bags import BagFrames
from tosa_ros.sources.bags.bounded import bound_decompression

pytest.importorskip('rosbags')
GIGABYTE = 1 << 30


@pytest.fixture
def write_compressed(make, frames, recording, write_bag):
    def write(mode, storage='mcap'):
        return write_bag(recording(make, frames), storage, compressed=mode)

    return write


@pytest.mark.parametrize(
    ('mode', 'storage'),
    [('STORAGE', 'mcap'), ('MESSAGE', 'mcap'), ('MESSAGE', 'sqlite3')],
)
def test_a_compressed_bag_is_read(write_compressed, frames, mode, storage):
    bag = BagFrames(write_compressed(mode, storage))
    assert len(bag) == 3
    np.testing.assert_array_equal(bag[1].rgb, frames[1].rgb)


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def bomb(gigabytes):
    try:
        from compression import zstd  # novermin: Python 3.14 has it, the except is for older ones
    except ImportError:
        from backports import zstd

    packer = zstd.ZstdCompressor(level=1)
    megabyte = bytes(1 << 20)
    return b''.join(packer.compress(megabyte) for _ in range(1024 * gigabytes)) + packer.flush()


@pytest.mark.parametrize('says', [1000, 3 * GIGABYTE])
@pytest.mark.parametrize('how', ['zstd', 'lz4'])
def test_a_chunk_that_is_a_bomb_is_refused(how, says):
    import lz4.frame
    from rosbags.rosbag2 import ReaderError, storage_mcap

    bound_decompression()
    data = bomb(3) if how == 'zstd' else lz4.frame.compress(bytes(GIGABYTE >> 2))
    before = peak_mib()
    with pytest.raises(ReaderError, match=r'size mismatch|at most'):
        storage_mcap.decompress(data, how, says, 0)
    assert peak_mib() - before < 100


def test_a_file_that_is_a_bomb_is_refused(write_compressed):
    """The folder has a file of another name too, or it would not be taken for a bag."""
    path = write_compressed('FILE', 'mcap')
    [file] = path.glob('*.zstd')
    file.write_bytes(bomb(2))
    (path / 'decoy.mcap').write_bytes(b'')
    with pytest.raises(DataError):
        BagFrames(path)


def test_a_message_that_is_a_bomb_is_refused(write_compressed):
    path = write_compressed('MESSAGE', 'sqlite3')
    [file] = path.glob('*.db3')
    with sqlite3.connect(file) as database:
        database.execute('UPDATE messages SET data = ?', (bomb(3),))
    database.close()
    before = peak_mib()
    with pytest.raises(DataError):
        BagFrames(path)
    assert peak_mib() - before < 800
