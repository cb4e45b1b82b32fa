"""Bags that were cut off, damaged or are none: what is whole is used, the rest is one line."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tosa_ros.errors import DataError
from tosa_ros.sources import open_source
from tosa_ros.sources.bags import BagFrames, folder_to_bag

pytest.importorskip('rosbags')
START_NS = 10**18


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_truncated_bag_is_read_as_far_as_it_goes(make, frames, write_bag, storage):
    pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    messages = [
        ('/image', START_NS + i, make.image(np.roll(pixels, i), 'rgb8', START_NS + i))
        for i in range(20)
    ]
    path = write_bag(messages, storage)
    (file,) = (f for f in path.iterdir() if f.suffix in ('.mcap', '.db3'))
    whole = file.read_bytes()
    draws, counts = random.Random(0), []
    for size in sorted(draws.randrange(len(whole)) for _ in range(8)):
        file.write_bytes(whole[:size])
        try:
            bag = BagFrames(path)
        except DataError:
            counts.append(0)
            continue
        counts.append(len(bag))
        assert any('cut off' in note for note in bag.notes)
        last = len(bag) - 1
        np.testing.assert_array_equal(bag[last].rgb, np.roll(pixels, last))
    assert counts == sorted(counts)
    assert counts[-1] > 10


def test_a_bag_cut_off_in_its_only_chunk_is_read_as_far_as_it_goes(folder, tmp_path):
    folder_to_bag(folder, tmp_path / 'bag')
    [file] = (tmp_path / 'bag').glob('*.mcap')
    whole, counts, faults = file.read_bytes(), set(), []
    for size in range(len(whole) - 2000, 0, -1000):
        file.write_bytes(whole[:size])
        try:
            bag = BagFrames(tmp_path / 'bag')
        except DataError as error:
            counts.add(0)
            faults.append(str(error))
            continue
        counts.add(len(bag))
        np.testing.assert_array_equal(bag[0].rgb, folder[0].rgb)
    assert counts == {0, 1, 2, 3}
    assert all('no colour image topic' in fault and 'is cut off' in fault for fault in faults)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_damaged_bytes_never_end_in_anything_but_an_error_of_ours(folder, tmp_path, storage):
    folder_to_bag(folder, tmp_path / 'bag', storage=storage, image_format='png')
    [file] = (f for f in (tmp_path / 'bag').iterdir() if f.suffix in ('.mcap', '.db3'))
    whole, draws, refused = file.read_bytes(), random.Random(1), 0
    for turn in range(24):
        damaged = bytearray(whole)
        if turn % 2:
            at, length = draws.randrange(len(whole)), draws.choice((16, 500))
            damaged[at : at + length] = bytes(min(length, len(whole) - at))
        else:
            for _ in range(20):
                damaged[draws.randrange(len(whole))] ^= 1 << draws.randrange(8)
        file.write_bytes(damaged)
        try:
            bag = BagFrames(tmp_path / 'bag')
            bag.pick(range(len(bag)))
        except DataError as error:
            refused += '\n' not in str(error)
    assert refused > 0


def test_files_without_metadata_are_read(make, frames, write_bag, recording):
    path = write_bag(recording(make, frames))
    (path / 'metadata.yaml').unlink()
    bag = BagFrames(path)
    assert len(bag) == 3
    assert any('metadata.yaml is missing' in note for note in bag.notes)
    (path / 'metadata.yaml').write_text('nonsense: [')
    assert len(BagFrames(path)) == 3
    assert len(BagFrames(next(path.glob('*.mcap')))) == 3
    assert len(open_source(path)) == 3


def test_a_path_that_is_not_a_bag_is_refused(tmp_path):
    (tmp_path / 'x.mcap').write_bytes(b'hello')
    (tmp_path / 'x.db3').write_bytes(b'hello' * 100)
    (tmp_path / 'empty').mkdir()
    for name in ('x.mcap', 'x.db3', 'empty', 'nowhere'):
        with pytest.raises(DataError, match=name):
            BagFrames(tmp_path / name)
