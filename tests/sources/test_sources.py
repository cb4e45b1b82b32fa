"""Every source is a FrameSource: folder, video, bag and frames in memory behave alike."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError, FrameError
from tosa_ros.sources import (
    FrameFolder,
    FrameSource,
    LazyFrames,
    VideoFrames,
    as_source,
    find_episode,
    open_source,
    read_folder,
    read_frame,
)
from tosa_ros.sources.layouts import LAYOUTS, layout_of, photos
from tosa_ros.sources.layouts.layout import FrameFiles, Layout, Listing


@pytest.fixture
def video(frames, tmp_path):
    av = pytest.importorskip('av')
    path = tmp_path / 'walk.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('ffv1', rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, 'bgr0'
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb)))
        container.mux(stream.encode())
    return path


@pytest.fixture
def bag(make, frames, write_bag, recording):
    pytest.importorskip('rosbags')
    return write_bag(recording(make, frames))


@pytest.mark.parametrize(
    ('kind', 'missing'), [('folder', 0), ('video', 3), ('bag', 0), ('frames', 0)]
)
def test_every_source_behaves_alike(request, frames, kind, missing):
    given = request.getfixturevalue(kind)
    path = given.path if kind == 'folder' else given
    source = as_source(given) if kind == 'frames' else open_source(path)
    assert isinstance(source, FrameSource)
    assert len(source) == 3
    assert source.missing_depth == missing
    assert [note for note in source.notes if not note.startswith('depth is ')] == []
    for one, other in zip(source, frames, strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)
    picked = source.pick([2, 0, 2])
    assert [f.rgb.tobytes() for f in picked] == [frames[i].rgb.tobytes() for i in (2, 0, 2)]
    assert picked[0] is picked[2]
    with pytest.raises(IndexError):
        source[3]


def test_a_source_stays_what_it_is(folder, frames):
    assert as_source(folder) is folder
    assert as_source(frames) is not frames


def test_frames_that_cannot_be_read_are_noted_and_left_out(frames):
    def broken():
        raise FrameError('2.png: cut off')

    source = LazyFrames([lambda: frames[0], broken, lambda: frames[1]])
    assert source.pick([0, 1, 2, 1]) == [frames[0], frames[1]]
    assert list(source.notes) == ['a frame cannot be read and is left out: 2.png: cut off']
    with pytest.raises(FrameError, match='cut off'):
        source.pick([1])
    assert source.pick([]) == []


def test_a_frame_that_is_picked_twice_is_made_once(frames):
    made = []
    source = LazyFrames([partial(lambda i: (made.append(i), frames[i])[1], i) for i in range(3)])
    assert source.pick([1, 1, 0]) == [frames[1], frames[1], frames[0]]
    assert made == [1, 0]


def test_what_a_path_is_shows_in_its_kind(folder, video, bag, tmp_path):
    assert isinstance(open_source(folder.path), FrameFolder)
    assert isinstance(open_source(video), VideoFrames)
    assert type(open_source(bag)).__name__ == 'BagFrames'
    assert find_episode(tmp_path, 'walk') == video
    assert find_episode(tmp_path, 'episode') == folder.path
    with pytest.raises(DataError, match='gone: no folder of frames, bag or video'):
        find_episode(tmp_path, 'gone')


def test_a_layout_is_recognised_by_its_files(folder, tmp_path):
    assert layout_of(folder.path) == 'openeqa'
    (folder.path / 'trajectory.log').write_text('0 0 0\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n' * 3)
    assert layout_of(folder.path) == 'openeqa'  # it has poses of its own
    for pose in folder.path.glob('0000?.txt'):
        pose.unlink()
    assert layout_of(folder.path) == 'redwood'
    np.testing.assert_array_equal(read_folder(folder.path)[0].pose, np.eye(4))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FrameError, match=r'empty: no colour images; wanted files named \*-rgb'):
        layout_of(tmp_path / 'empty')


@pytest.fixture
def scans():
    """The layout of an own data set: NNN.jpg beside poses in NNN.pose."""

    def frames(folder):
        pictures = sorted(folder.glob('*.jpg'))
        files = [FrameFiles(p.stem, p, pose=p.with_suffix('.pose')) for p in pictures]
        return Listing(tuple(files), intrinsics='40,40,15.5,11.5')

    matches = lambda folder: any(folder.glob('*.pose'))  # noqa: E731
    yield LAYOUTS.register('scans', Layout('*.jpg and *.pose', matches, frames))
    LAYOUTS.unregister('scans')


def test_a_new_layout_is_one_entry(scans, folder, frames, tmp_path):
    place = tmp_path / 'scan'
    place.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame.rgb).save(place / f'{i}.jpg', quality=100)
        np.savetxt(place / f'{i}.pose', frame.pose)
    source = open_source(place)
    assert source.stems == ('0', '1', '2')
    assert source[2].pose[0, 3] == 2
    assert source[2].intrinsics == frames[2].intrinsics
    (folder.path / 'x.pose').touch()
    with pytest.raises(FrameError, match='may be of the layouts openeqa and scans; name one'):
        open_source(folder.path)
    assert len(read_folder(folder.path, layout='openeqa')) == 3
    with pytest.raises(FrameError, match=r"folder layout 'scan': wanted one of .*; did you mean"):
        read_folder(place, layout='scan')


def test_photos_are_a_layout_where_it_is_asked_for(tmp_path):
    for name in ('p10.jpg', 'p9.PNG', '.hidden.jpg', 'notes.txt'):
        kind = 'JPEG' if name.endswith('jpg') else 'PNG'
        Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(tmp_path / name, kind)
    assert photos.matches(tmp_path)
    folder = read_folder(tmp_path, layout='photos')
    assert folder.stems == ('p9.PNG', 'p10.jpg')
    assert folder.photos
    np.testing.assert_array_equal(folder[0].rgb, read_frame(tmp_path / 'p9.PNG').rgb)
    with pytest.raises(FrameError, match='no colour images'):
        read_folder(tmp_path)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / '0-rgb.png')
    assert not photos.matches(tmp_path)
