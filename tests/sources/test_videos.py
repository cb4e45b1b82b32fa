"""Videos as phones and editors write them: on their side, with covers, in capitals."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError
from tosa_ros.sources import VideoFrames, open_source

av = pytest.importorskip('av')

WIDTH, HEIGHT = 64, 48
GREYS = np.array([[20, 80], [150, 220]])  # of the quarters of the picture, as it is stored
ONE = 1 << 16
# A display matrix a b u c d v x y w takes pixel (x, y) to (a x + c y, b x + d y).
SHOWN = {
    'as stored': ((ONE, 0, 0, ONE), GREYS),
    'clockwise': ((0, ONE, -ONE, 0), np.rot90(GREYS, -1)),
    'upside down': ((-ONE, 0, 0, -ONE), np.rot90(GREYS, 2)),
    'counterclockwise': ((0, -ONE, ONE, 0), np.rot90(GREYS, 1)),
    'in a mirror': ((-ONE, 0, 0, ONE), GREYS[:, ::-1]),
    'mirrored and turned': ((0, ONE, ONE, 0), GREYS.T),
}


def write_video(path, matrix=None, cover=False, frames=4):
    stored = np.kron(GREYS, np.ones((HEIGHT // 2, WIDTH // 2))).astype(np.uint8)
    with av.open(str(path), 'w', format='mov' if path.suffix.lower() == '.mov' else 'mp4') as file:
        stream = file.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, 'yuv420p'
        if matrix is not None:
            a, b, c, d = matrix
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if cover:
            add_cover(file)
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(np.repeat(stored[..., None], 3, axis=2))
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


def add_cover(file):
    from av.stream import Disposition

    jpeg = io.BytesIO()
    Image.new('RGB', (40, 40), 'red').save(jpeg, 'PNG')
    stream = file.add_stream('png')
    stream.width, stream.height, stream.pix_fmt = 40, 40, 'rgb24'
    stream.disposition = Disposition.attached_pic
    packet = av.Packet(jpeg.getvalue())
    packet.stream, packet.pts, packet.dts = stream, 0, 0
    return packet


def quarters(frame):
    return frame.rgb.reshape(2, frame.height // 2, 2, frame.width // 2, 3).mean(axis=(1, 3, 4))


@pytest.mark.parametrize('suffix', ['.mp4', '.MOV'])
@pytest.mark.parametrize('shown', SHOWN)
def test_frames_are_turned_as_the_file_says(tmp_path, shown, suffix):
    matrix, wanted = SHOWN[shown]
    source = open_source(write_video(tmp_path / f'IMG_0001{suffix}', matrix))
    assert len(source) == 4
    for frame in (source[3], source.pick([0])[0], source.nearest([0.15])[0]):
        np.testing.assert_allclose(quarters(frame), wanted, atol=4)
    assert source.notes == {}


def test_a_turn_by_no_right_angle_is_noted(tmp_path):
    half = round(ONE * 0.5**0.5)
    source = VideoFrames(write_video(tmp_path / 'a.mp4', (half, half, -half, half)))
    np.testing.assert_allclose(quarters(source[0]), GREYS, atol=4)
    (note,) = source.notes
    assert 'a.mp4: is shown turned by no right angle' in note


def test_episodes_are_found_in_capitals(tmp_path):
    from tosa_ros.sources import find_episode

    path = write_video(tmp_path / 'IMG_0001.MOV')
    assert find_episode(tmp_path, 'IMG_0001') == path


def test_a_file_of_music_with_a_cover_has_no_video(tmp_path):
    path = tmp_path / 'song.mp4'
    with av.open(str(path), 'w') as file:
        audio = file.add_stream('aac', rate=48000, layout='mono')
        packet = add_cover(file)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
        sound.sample_rate = 48000
        file.mux(audio.encode(sound))
        file.mux(audio.encode())
        file.mux(packet)
    with av.open(str(path)) as file:
        assert len(file.streams.video) == 1, 'the cover'
    with pytest.raises(DataError, match=r'song\.mp4: has no video stream'):
        VideoFrames(path)
