"""`tosa ask` and `view` on what people have: photos, folders of them, videos, several files."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip('transformers')

from PIL import Image

from tosa_ros.cli.main import main
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources import write_folder
from tosa_ros.vlm.untrained import write_checkpoint

FPS = 10


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp('paths') / 'model', seed=1))


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Five photos in a folder, each of one grey, and a video of fifty such frames."""
    place = tmp_path_factory.mktemp('photos')
    (place / 'album').mkdir()
    for i in range(5):
        picture = np.full((48, 64, 3), 40 * i, np.uint8)
        Image.fromarray(picture).save(place / 'album' / f'{i}.jpg')
    av = pytest.importorskip('av')
    with av.open(str(place / 'walk.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * i, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return place


def test_every_way_of_naming_frames_and_a_question(ask, photos):
    one, other = photos / 'album' / '0.jpg', photos / 'album' / '1.jpg'
    assert ask(one, 'What is it?')['question'] == 'What is it?'
    assert ask('--rgb', one, '--question', 'What is it?')['frames'] == 1
    assert ask(one, other, 'What is it?')['frames'] == 2
    assert ask(one, '--keep', 0.5, other, '--dtype', 'float32', 'What?')['frames'] == 2
    assert ask(photos / 'album', 'What?')['frames'] == 5
    assert ask('--folder', photos / 'album', '--frames', 3, '--question', 'What?')['frames'] == 3
    assert ask(photos / 'walk.mp4', 'What?')['frames'] == 12
    assert ask(photos / 'walk.mp4', 'What?', '--frames', 4)['frames'] == 4
    assert ask('--rgb', one, '-q', 'What is it?')['question'] == 'What is it?'


def test_frames_of_a_video_are_those_of_the_times(photos):
    from tosa_ros.errors import DataError
    from tosa_ros.sources import VideoFrames

    found = VideoFrames(photos / 'walk.mp4').nearest([4.9, 1.04, 0])
    levels = [float(frame.rgb.mean()) for frame in found]
    assert levels == pytest.approx([5 * 49, 5 * 10, 0], abs=4)
    for time_s, message in (
        (-1, 'has no frame at -1 s'),
        (5.2, r'has no frame at 5\.2 s; it is 4\.900 s long'),
    ):
        with pytest.raises(DataError, match=message):
            VideoFrames(photos / 'walk.mp4').nearest([1, time_s])


def test_the_command_takes_times(ask, photos):
    assert ask(photos / 'walk.mp4', 'What?', '--times', '0.5,2')['frames'] == 2
    assert 'has no frame at 9 s' in ask(photos / 'walk.mp4', 'What?', '--times', '9')
    assert 'wanted seconds' in ask(photos / 'walk.mp4', 'What?', '--times', 'noon')


@pytest.fixture
def rgbd(tmp_path):
    camera = Intrinsics(60, 60, 31.5, 23.5, 64, 48)
    depth = np.full((48, 64), 2.0, np.float32)
    frame = Frame(np.full((48, 64, 3), 90, np.uint8), depth_m=depth, intrinsics=camera)
    write_folder(tmp_path / 'rgbd', [frame, frame])
    return tmp_path / 'rgbd'


def test_options_that_would_change_nothing_are_refused(ask, photos, rgbd):
    photo, film = photos / 'album' / '0.jpg', photos / 'walk.mp4'
    for words, message in (
        ((photo, 'x', '--spatial', 'metric'), 'spatial: metric, but frame 0 has no depth'),
        ((photo, 'x', '--spatial', 'levels'), 'spatial: levels, but frame 0 has no depth'),
        ((photo, 'x', '--depth-scale', 1000), '--depth-scale needs --depth'),
        ((photo, 'x', '--intrinsics', '60,60,32,24'), '--intrinsics changes nothing'),
        ((photo, 'x', '--layout', 'tum'), '--layout goes with a folder'),
        ((film, 'x', '--layout', 'tum'), '--layout goes with a folder of frames, not'),
        ((rgbd, 'x', '--layout', 'tumm'), "folder layout 'tumm': wanted one of"),
        ((rgbd, 'x', '--rotate', 45), '45 is unknown; wanted one of 0, 90, 180, 270'),
        ((photo, 'x', '--frames', 2), '--frames goes with a folder, video or bag'),
        ((photo, 'x', '--times', 2), '--times goes with a folder, video or bag'),
        ((film, 'x', '--frames', 2, '--times', 2), 'not allowed with argument --frames'),
        ((film, 'x', '--depth-scale', 1000), 'has no depth files'),
        ((photos / 'album', 'x', '--depth-scale', 1000), 'has no depth files'),
        ((photos / 'album', 'x', '--times', 1), '--times goes with a video'),
        ((rgbd, 'x', '--depth', rgbd), '--depth goes with image files'),
        ((rgbd, photo, 'x'), 'give either --rgb FILE or image files, or one folder'),
        ((photo, 'x', '--quest', 'y'), 'there is no option --quest; did you mean --question?'),
        ((photo,), 'the question is missing'),
        ((), 'the question is missing'),
        (('x', '--folder', 'gone'), 'gone: no such folder'),
    ):
        assert message in ask(*words), words
    assert ask(rgbd, 'x', '--spatial', 'metric')['spatial'] == 'metric'
    assert ask(rgbd, 'x', '--depth-scale', 500, '--spatial', 'levels')['spatial'] == 'levels'


def test_view_takes_the_same_paths(ask, photos, rgbd):
    assert ask(photos / 'album', command='view')['frames'] == 5
    assert ask(photos / 'walk.mp4', '--frames', 2, command='view')['frames'] == 2
    assert ask(rgbd, command='view')['methods']['tosa']['depth_spread_m'] >= 0
    refused = ask(rgbd, '--tower', 'so400m', command='view')
    assert '--model changes nothing with --tower' in refused
    assert 'give either' in ask(command='view')


def test_a_photo_that_cannot_be_read_is_left_out_and_named(model, photos, tmp_path, capfd):
    (tmp_path / '1.jpg').write_bytes((photos / 'album' / '1.jpg').read_bytes())
    (tmp_path / '2.jpg').write_bytes(b'no picture')
    assert main(['ask', str(tmp_path), 'What?', '--model', model, '--json']) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)['frames'] == 1
    assert '2.jpg: not a ' in captured.err
    (tmp_path / '1.jpg').unlink()
    assert main(['ask', str(tmp_path), 'What?', '--model', model]) == 2
    assert 'tosa ask: error: ' in capfd.readouterr().err


def test_the_files_of_phones(ask, photos, tmp_path, capfd):
    (tmp_path / 'IMG_0001.MOV').write_bytes((photos / 'walk.mp4').read_bytes())
    assert ask(tmp_path / 'IMG_0001.MOV', 'What?')['frames'] == 12
    (tmp_path / 'IMG_0002.JPG').write_bytes((photos / 'album' / '1.jpg').read_bytes())
    assert ask(tmp_path / 'IMG_0002.JPG', 'What?')['frames'] == 1
    place = tmp_path / 'phone'
    place.mkdir()
    Image.new('RGB', (64, 48)).save(place / '1-rgb.jpg')
    Image.fromarray(np.full((24, 32), 2000, np.uint16)).save(place / '1-depth.png')
    asked = ('What?', '--intrinsics', '60,60,31.5,23.5', '--spatial', 'metric')
    assert ask(place, *asked)['spatial'] == 'metric'
    assert ask(place, *asked, '--rotate', 90)['spatial'] == 'metric'
    capfd.readouterr()
    assert main(['ask', str(place), 'What?', '--model', 'gone']) == 2
    assert 'is taken as of the same view' in capfd.readouterr().err


def test_depth_in_metres_needs_no_scale(ask, photos, tmp_path):
    photo = photos / 'album' / '1.jpg'
    np.save(tmp_path / 'd.npy', np.full((48, 64), 2, np.float32))
    words = (photo, 'What?', '--depth', tmp_path / 'd.npy', '--intrinsics', '60,60,31.5,23.5')
    assert ask(*words)['spatial'] == 'metric'
    np.save(tmp_path / 'd.npy', np.full((48, 64), 2000, np.uint16))
    assert 'its depth scale is missing' in ask(*words)
    assert ask(*words, '--depth-scale', 1000)['spatial'] == 'metric'
