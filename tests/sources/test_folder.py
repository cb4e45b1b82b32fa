from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tosa_ros.depth import register_depth
from tosa_ros.errors import DepthError, FrameError
from tosa_ros.frames import DepthDoubt, Frame, Intrinsics
from tosa_ros.sources import parse_intrinsics, read_folder, read_frame, write_folder
from tosa_ros.sources.single import DepthSizeWarning

CAMERA = Intrinsics(50.25, 51, 15.5, 11.125, 32, 24)
DATA = Path(__file__).parents[3] / 'shared' / 'data'
DESK, LIVINGROOM = DATA / 'rgbd_desk', DATA / 'rgbd_livingroom'
needs_desk = pytest.mark.skipif(not DESK.is_dir(), reason='the Kinect frames are not here')
needs_livingroom = pytest.mark.skipif(
    not LIVINGROOM.is_dir(), reason='the living-room frames are not here'
)


def make_frame(seed=0, width=32, height=24, depth=True, camera=CAMERA, pose=True):
    rng = np.random.default_rng(seed)
    metres = rng.uniform(0.5, 4, (height, width)).astype(np.float32)
    metres[:2, :3] = np.nan
    matrix = np.eye(4)
    matrix[:3, 3] = rng.normal(size=3)
    return Frame(
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        depth_m=metres if depth else None,
        intrinsics=camera,
        pose=matrix if pose else None,
    )


@pytest.fixture
def folder(tmp_path):
    """Four frames of 32x24 pixels, complete."""
    write_folder(tmp_path / 'scene', [make_frame(seed) for seed in range(4)])
    return tmp_path / 'scene'


def save(path, array):
    Image.fromarray(array).save(path)
    return path


def test_round_trip(tmp_path):
    frames = [make_frame(seed) for seed in range(3)]
    folder = write_folder(tmp_path / 'new' / 'scene', iter(frames), depth_scale=5000)
    assert folder.stems == ('00000', '00001', '00002')
    assert folder.missing_depth == 0
    for frame, again in zip(frames, folder, strict=True):
        np.testing.assert_array_equal(again.rgb, frame.rgb)
        np.testing.assert_array_equal(again.pose, frame.pose)
        assert again.intrinsics == frame.intrinsics
        np.testing.assert_allclose(again.depth_m, frame.depth_m, atol=0.5 / 5000 + 1e-6)
    names = {file.name for file in (tmp_path / 'new' / 'scene').iterdir()}
    assert names == {f'0000{i}{end}' for i in range(3) for end in
                     ('-rgb.png', '-depth.png', '.txt')} | {
        'intrinsic_color.txt', 'intrinsic_depth.txt'}  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    scale=st.sampled_from([100, 1000, 5000, 6553.5]),
    metres=st.floats(1e-6, 9.9, allow_nan=False),
    shift=st.floats(-1e6, 1e6, allow_nan=False),
)
def test_round_trip_of_any_depth_and_pose(tmp_path_factory, scale, metres, shift):
    pose = np.eye(4)
    pose[0, 3] = shift
    depth = np.full((2, 3), np.nan, np.float32)
    depth[1, 1] = metres
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of odd medians
        frame = Frame(np.zeros((2, 3, 3), np.uint8), depth_m=depth, pose=pose)
        again = write_folder(tmp_path_factory.mktemp('any'), [frame], depth_scale=scale)[0]
    assert again.pose[0, 3] == shift
    assert abs(again.depth_m[1, 1] - metres) <= 1 / scale
    assert np.isfinite(again.depth_m).sum() == 1


def test_frames_are_decoded_when_asked_for_and_the_same_while_held(folder):
    frames = read_folder(folder)
    (folder / '00003-rgb.png').write_bytes(b'no picture')
    assert len(frames) == 4
    first, third = frames[0], frames[2]
    assert frames[0] is frames[-4] is frames.sampled(1)[0] is first
    assert frames[1:3][-1] is frames.take([2])[0] is third
    with pytest.raises(
        FrameError, match=r'00003-rgb\.png: not a PNG, JPEG, WEBP, BMP or PPM image'
    ):
        frames[3]
    with pytest.raises(IndexError):
        frames[4]


def test_frames_are_kept_only_while_held(folder):
    frames = read_folder(folder)
    frames[0]
    gc.collect()
    (folder / '00000-rgb.png').unlink()
    with pytest.raises(FrameError, match='No such file'):
        frames[0]


def test_slices_and_samples_are_folders(folder):
    frames = read_folder(folder)
    assert frames[1:].stems == ('00001', '00002', '00003')
    assert frames[::-1].stems[0] == '00003'
    assert frames[1:].take([0, 2, 0]).stems == ('00001', '00003', '00001')
    assert len(frames[4:]) == 0


@pytest.mark.parametrize(
    ('count', 'chosen'), [(1, '0'), (2, '03'), (3, '023'), (4, '0123'), (6, '011223')]
)
def test_sampling_by_openeqas_rule(folder, count, chosen):
    # round(linspace(0, 3, k)), halves to even: 0, 1.5, 3 -> 0, 2, 3.
    assert ''.join(stem[-1] for stem in read_folder(folder).sampled(count).stems) == chosen


def test_sampling_nothing(folder):
    with pytest.raises(FrameError, match='0 frames were asked for'):
        read_folder(folder).sampled(0)


def test_stems_need_not_be_numbers(tmp_path):
    picture = np.zeros((4, 6, 3), np.uint8)
    for name in ('b-rgb.png', 'a-1-rgb.jpg', 'a-1-rgbx.png', 'c.png', 'frame-rgb-rgb.jpeg'):
        save(tmp_path / name, picture)
    assert read_folder(tmp_path).stems == ('a-1', 'b', 'frame-rgb')


def test_missing_depth_is_counted(folder):
    (folder / '00001-depth.png').unlink()
    frames = read_folder(folder)
    assert frames.missing_depth == 1
    assert frames[1].depth_m is None
    assert frames[1].intrinsics == CAMERA
    assert frames[2].depth_m is not None


@pytest.mark.parametrize('value', ['-inf', 'nan', 'inf'])
def test_a_pose_that_is_not_finite_is_none(folder, value):
    (folder / '00002.txt').write_text((f'{value} ' * 4 + '\n') * 4)
    frames = read_folder(folder)
    assert frames[2].pose is None
    assert frames[1].pose is not None


def test_opengl_poses_are_turned_to_the_optical_frame(folder):
    optical, turned = read_folder(folder)[0], read_folder(folder, camera_axes='opengl')[0]
    # A point 2 m ahead of an OpenGL camera lies at z = -2; one above it at y = 1.
    np.testing.assert_allclose(turned.pose @ [0, 0, 2, 1], optical.pose @ [0, 0, -2, 1])
    np.testing.assert_allclose(turned.pose @ [0, -1, 0, 1], optical.pose @ [0, 1, 0, 1])
    with pytest.raises(FrameError, match="camera_axes: 'ros'; wanted"):
        read_folder(folder, camera_axes='ros')


def test_depth_of_another_size_is_registered_with_both_cameras(tmp_path):
    # As ScanNet has it: 640x480 depth under 1296x968 colour, here smaller.
    depth_camera, colour_camera = Intrinsics(28, 28, 15.5, 11.5, 32, 24), (58, 58, 32, 23.5)
    raw = np.random.default_rng(0).integers(500, 4000, (24, 32), dtype=np.uint16)
    raw[:5] = 0
    save(tmp_path / 'x-rgb.png', np.zeros((48, 66, 3), np.uint8))
    save(tmp_path / 'x-depth.png', raw)
    for name, (fx, fy, cx, cy) in {
        'intrinsic_color.txt': colour_camera,
        'intrinsic_depth.txt': (28, 28, 15.5, 11.5),
    }.items():
        matrix = np.array([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        np.savetxt(tmp_path / name, matrix)
    frame = read_folder(tmp_path)[0]
    metres = np.where(raw > 0, raw / np.float32(1000), np.nan).astype(np.float32)
    expected = register_depth(metres, depth_camera, Intrinsics(*colour_camera, 66, 48))
    assert frame.intrinsics == Intrinsics(*colour_camera, 66, 48)
    np.testing.assert_array_equal(frame.depth_m, expected)
    assert np.isnan(frame.depth_m[:9]).all()
    assert np.isfinite(frame.depth_m[12:40, 8:58]).all()


def test_depth_of_another_view_without_both_cameras(tmp_path):
    rgb = save(tmp_path / 'x-rgb.png', np.zeros((48, 64, 3), np.uint8))
    depth = save(tmp_path / 'x-depth.png', np.full((20, 32), 1000, np.uint16))
    with pytest.raises(FrameError, match=r'x-depth\.png: 32x20 pixels, but .*64x48.*both cameras'):
        read_folder(tmp_path)[0]
    with pytest.raises(FrameError, match='both cameras'):
        read_frame(rgb, depth, depth_scale=1000, intrinsics='58,58,31.5,23.5')
    save(depth, np.full((24, 32), 1000, np.uint16))
    frame = read_frame(
        rgb,
        depth,
        depth_scale=1000,
        intrinsics='58,58,31.5,23.5',
        depth_intrinsics=(29, 29, 15.5, 11.5),
    )
    assert (frame.depth_m == 1).all()


def test_depth_of_the_same_size_and_another_view_is_said_to_be_taken_as_aligned(tmp_path):
    rgb = save(tmp_path / 'x-rgb.png', np.zeros((24, 32, 3), np.uint8))
    depth = save(tmp_path / 'x-depth.png', np.full((24, 32), 1000, np.uint16))
    for own, doubts in (((58, 58, 15.5, 11.5), 0), ((50, 50, 15.5, 11.5), DepthDoubt.ALIGNED)):
        frame = read_frame(
            rgb,
            depth,
            depth_scale=1000,
            intrinsics='58,58,15.5,11.5',
            depth_intrinsics=own,
        )
        assert frame.doubts == doubts
        assert (frame.depth_m == 1).all()


def test_smaller_depth_of_the_same_view_as_phones_write_it(tmp_path):
    raw = np.random.default_rng(0).integers(500, 4000, (48, 64), dtype=np.uint16)
    raw[:5] = 0
    save(tmp_path / '1-RGB.JPG', np.zeros((144, 192, 3), np.uint8))
    save(tmp_path / '1-depth.png', raw)
    folder = read_folder(tmp_path, intrinsics='180,180,95.5,71.5')
    metres = np.where(raw > 0, raw / np.float32(1000), np.nan).astype(np.float32)
    wanted = np.repeat(np.repeat(metres, 3, axis=0), 3, axis=1)
    np.testing.assert_array_equal(folder[0].depth_m, wanted)
    assert folder[0].intrinsics == Intrinsics(180, 180, 95.5, 71.5, 192, 144)
    (note,) = folder.notes
    assert 'depth of 64x48 pixels is taken as of the same view as colour of 192x144' in note
    assert folder[0].doubts == DepthDoubt.ALIGNED
    with pytest.warns(DepthSizeWarning, match='taken as of the same view'):
        frame = read_frame(tmp_path / '1-RGB.JPG', tmp_path / '1-depth.png', depth_scale=1000)
    np.testing.assert_array_equal(frame.depth_m, wanted)


def test_numbers_without_zeros_are_in_their_own_order(tmp_path):
    for i in (10, 2, 1, 100):
        save(tmp_path / f'{i}-rgb.png', np.full((4, 6, 3), i, np.uint8))
        save(tmp_path / f'{i}-DEPTH.PNG', np.full((4, 6), 100 * i, np.uint16))
    folder = read_folder(tmp_path)
    assert folder.stems == ('1', '2', '10', '100')
    assert [frame.depth_m[0, 0] for frame in folder] == pytest.approx([0.1, 0.2, 1, 10])


def test_depth_of_other_formats_in_a_folder(tmp_path):
    for stem in 'abc':
        save(tmp_path / f'{stem}-rgb.png', np.zeros((4, 6, 3), np.uint8))
    np.save(tmp_path / 'a-depth.npy', np.full((4, 6), 2, np.float32))
    np.save(tmp_path / 'b-depth.npy', np.full((4, 6), 2000, np.int32))
    save(tmp_path / 'c-depth.tiff', np.full((4, 6), 2, np.float32))
    assert [frame.depth_m[0, 0] for frame in read_folder(tmp_path)] == [2, 2, 2]
    assert read_folder(tmp_path, depth_scale=100)[1].depth_m[0, 0] == 20
    save(tmp_path / 'a-depth.png', np.full((4, 6), 2000, np.uint16))
    with pytest.raises(FrameError, match='frame a has two depth files'):
        read_folder(tmp_path)


def test_given_intrinsics_go_before_the_folders(folder):
    frame = read_folder(folder, intrinsics='60,61,16,12')[0]
    assert frame.intrinsics == Intrinsics(60, 61, 16, 12, 32, 24)


def test_depth_scale(tmp_path):
    save(tmp_path / 'x-rgb.png', np.zeros((2, 2, 3), np.uint8))
    save(tmp_path / 'x-depth.png', np.array([[13107, 13107], [0, 65535]], np.uint16))
    depth = read_folder(tmp_path, depth_scale=6553.5)[0].depth_m
    np.testing.assert_allclose(depth, [[2, 2], [np.nan, np.nan]])
    with pytest.raises(DepthError, match='depth scale: 0'):
        read_folder(tmp_path, depth_scale=0)


def write_redwood(path, poses, count):
    for index in range(count):
        save(path / f'{index:05d}-rgb.jpg', np.zeros((4, 6, 3), np.uint8))
    text = ''
    for index, pose in enumerate(poses):
        rows = '\n'.join(' '.join(map(repr, row)) for row in pose.tolist())
        text += f'{index} {index} {index + 1}\n{rows}\n'
    (path / 'trajectory.log').write_text(text)


def test_redwood_trajectory(tmp_path):
    poses = [np.eye(4) + np.arange(4) * i for i in range(3)]
    write_redwood(tmp_path, poses, 3)
    frames = read_folder(tmp_path)
    for frame, pose in zip(frames, poses, strict=True):
        np.testing.assert_array_equal(frame.pose, pose)
    (tmp_path / '00001.txt').write_text('\n'.join(['7 0 0 0'] * 4))
    assert read_folder(tmp_path)[0].pose is None, 'poses of one kind only'


@pytest.mark.parametrize('count', [2, 4])
def test_a_trajectory_for_another_number_of_frames(tmp_path, count):
    write_redwood(tmp_path, [np.eye(4)] * 3, count)
    with pytest.raises(FrameError, match=rf'log: 15 lines for {count} colour images'):
        read_folder(tmp_path)


def test_a_trajectory_that_is_not_a_matrix_is_refused(tmp_path):
    write_redwood(tmp_path, [np.eye(4)] * 2, 2)
    log = tmp_path / 'trajectory.log'
    log.write_text(log.read_text().replace('1.0', 'one', 1))
    with pytest.raises(FrameError, match=r'log, pose 0: not a matrix of numbers'):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('00000.txt', b'1 2 3', r'00000\.txt: a matrix of shape \(1, 3\); wanted \(4, 4\)'),
        ('00000.txt', b'1 0\n1', r'00000\.txt: not a matrix'),
        ('00000.txt', b'a b c d\n' * 4, r'00000\.txt: not a matrix'),
        ('00000.txt', b'caf\xe9 ', r'00000\.txt: cannot be read: not a text file'),
        ('00000.txt', b'', r'00000\.txt: a matrix of shape'),
        ('00000-depth.png', b'no', r'00000-depth\.png: not a PNG image'),
        ('00000-rgb.png', b'no', r'00000-rgb\.png: not a PNG, JPEG, WEBP, BMP or PPM image'),
        ('intrinsic_color.txt', b'0 0 0\n0 1 0\n0 0 1', r'intrinsic_color\.txt: .*fx is 0'),
        ('intrinsic_color.txt', b'1 1', r'intrinsic_color\.txt: a matrix of shape'),
        ('intrinsic_depth.txt', b'nan 0 0\n0 1 0\n0 0 1', r'intrinsic_depth\.txt: .*fx is nan'),
    ],
)
def test_a_broken_file_is_named_in_one_line(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises((FrameError, DepthError), match=message) as error:
        read_folder(folder)[0]
    assert '\n' not in str(error.value)
    assert str(error.value).count(name) == 1


@pytest.mark.parametrize('name', ['00000-rgb.png', '00000-depth.png'])
def test_a_cut_off_picture(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises((FrameError, DepthError), match=f'{name}: cannot be read'):
        read_folder(folder)[0]


def test_depth_without_a_valid_pixel_names_its_file(folder):
    save(folder / '00000-depth.png', np.zeros((24, 32), np.uint16))
    with pytest.raises(FrameError, match=r'00000-depth\.png: depth_m: none of its 768 pixels'):
        read_folder(folder)[0]


def test_eight_bit_depth(folder):
    save(folder / '00000-depth.png', np.full((24, 32), 9, np.uint8))
    with pytest.raises(DepthError, match=r'00000-depth\.png: not metric depth, .* mode L'):
        read_folder(folder)[0]


def test_folders_that_are_none(tmp_path):
    with pytest.raises(FrameError, match='nowhere: no such folder'):
        read_folder(tmp_path / 'nowhere')
    with pytest.raises(FrameError, match=r'no colour images; wanted files named \*-rgb\.png'):
        read_folder(tmp_path)
    for name in ('a-rgb.png', 'a-rgb.jpg'):
        save(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(FrameError, match='frame a has two colour images'):
        read_folder(tmp_path)


def test_read_frame_of_single_files(folder):
    frame = read_frame(
        str(folder / '00001-rgb.png'),
        folder / '00001-depth.png',
        depth_scale=1000,
        intrinsics='50.25,51,15.5,11.125',
        pose=folder / '00001.txt',
    )
    expected = read_folder(folder)[1]
    assert frame.intrinsics == expected.intrinsics
    for name in ('rgb', 'depth_m', 'pose'):
        np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name))


def test_read_frame_of_colour_alone(tmp_path):
    grey = save(tmp_path / 'grey.png', np.full((3, 5), 7, np.uint8))
    frame = read_frame(grey)
    assert (frame.rgb == 7).all()
    assert frame.rgb.shape == (3, 5, 3)
    assert (frame.depth_m, frame.intrinsics, frame.pose) == (None, None, None)


def test_a_photo_alone_is_turned_upright(tmp_path):
    pixels = make_frame().rgb
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(pixels).save(tmp_path / 'a-rgb.png', exif=exif)
    np.testing.assert_array_equal(read_frame(tmp_path / 'a-rgb.png').rgb, np.rot90(pixels, -1))
    (frame,) = read_folder(tmp_path)
    np.testing.assert_array_equal(frame.rgb, np.rot90(pixels, -1))
    frame = read_frame(tmp_path / 'a-rgb.png', intrinsics='40,40,15.5,11.5')
    np.testing.assert_array_equal(frame.rgb, pixels)
    depth = np.full(pixels.shape[:2], 1000, np.uint16)
    Image.fromarray(depth).save(tmp_path / 'a-depth.png')
    np.testing.assert_array_equal(read_folder(tmp_path)[0].rgb, pixels)


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.webp'])
@pytest.mark.parametrize('exif', [b'garbage', b'II*\0', b'Exif\0\0broken exif \xff' * 9])
def test_a_photo_with_broken_exif_is_read(tmp_path, name, exif):
    pixels = make_frame().rgb
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    assert read_frame(tmp_path / name).rgb.shape == pixels.shape


def test_the_frames_of_a_folder_are_turned_together(tmp_path):
    pixels = make_frame().rgb
    exif = Image.Exif()
    exif[0x0112] = 6
    for stem in ('a', 'b'):
        Image.fromarray(pixels).save(tmp_path / f'{stem}-rgb.png', exif=exif)
    Image.fromarray(np.full(pixels.shape[:2], 1000, np.uint16)).save(tmp_path / 'a-depth.png')
    assert [frame.rgb.shape for frame in read_folder(tmp_path)] == [pixels.shape] * 2


def test_hidden_files_are_not_frames(folder):
    count = len(read_folder(folder))
    (folder / '._00000-rgb.png').write_bytes(b'a resource fork')
    assert len(read_folder(folder)) == count


def test_read_frame_faults(folder, tmp_path):
    rgb, depth = folder / '00000-rgb.png', folder / '00000-depth.png'
    with pytest.raises(DepthError, match=r'00000-depth\.png: its depth scale is missing'):
        read_frame(rgb, depth)
    with pytest.raises(FrameError, match=r'00000-depth\.png: mode I;16 is depth, not a colour'):
        read_frame(depth)
    with pytest.raises(FrameError, match='intrinsics: made for 64x48'):
        read_frame(rgb, intrinsics=CAMERA.scaled(64, 48))
    with pytest.raises(FrameError, match=r'none\.png: .*No such file'):
        read_frame(tmp_path / 'none.png')
    with pytest.raises(FrameError, match='Is a directory'):
        read_frame(tmp_path)


def test_parse_intrinsics():
    assert parse_intrinsics(' 1e2, 90.5,3,4 ', 8, 6) == Intrinsics(100, 90.5, 3, 4, 8, 6)


@pytest.mark.parametrize('text', ['', '1,2,3', '1,2,3,4,5', 'a,b,c,d', '1;2;3;4'])
def test_intrinsics_that_are_not_four_numbers(text):
    with pytest.raises(FrameError, match=f"intrinsics: '{text}'; wanted 'fx,fy,cx,cy'"):
        parse_intrinsics(text, 8, 6)


def test_intrinsics_without_a_focal_length():
    with pytest.raises(FrameError, match='fy is 0'):
        parse_intrinsics('500,0,3,4', 8, 6)


def test_writing_refuses_frames_that_a_folder_cannot_hold(tmp_path):
    folder = tmp_path / 'scene'
    relative = Frame(np.zeros((2, 2, 3), np.uint8), relative_depth=np.ones((2, 2), np.float32))
    with pytest.raises(FrameError, match='frame 0: its depth is relative'):
        write_folder(folder, [relative])
    with pytest.raises(FrameError, match=r'frame 0: depth of .* m does not fit into 16 bits'):
        write_folder(folder, [make_frame()], depth_scale=20000)
    with pytest.raises(FrameError, match='frame 1: another camera than frame 0'):
        write_folder(folder, [make_frame(), make_frame(camera=None)])
    with pytest.raises(FrameError, match='has frames already'):
        write_folder(folder, [make_frame()])
    with pytest.raises(FrameError, match='cannot be made a folder'):
        write_folder(folder / '00000-rgb.png', [make_frame()])
    assert not [file for file in folder.iterdir() if file.name.startswith('.')]


def test_writing_frames_of_colour_alone(tmp_path):
    again = write_folder(tmp_path, [make_frame(depth=False, camera=None, pose=False)])
    assert [file.name for file in tmp_path.iterdir()] == ['00000-rgb.png']
    assert again.missing_depth == 1
    assert again[0].intrinsics is None


@needs_desk
def test_the_kinect_frames():
    frames = read_folder(DESK, depth_scale=5000, intrinsics='520.9,521.0,325.1,249.7')
    assert frames.stems == ('00001', '00002')
    assert frames.missing_depth == 0
    for frame in frames:
        assert frame.rgb.shape == (480, 640, 3)
        assert frame.has_metric_points
        assert frame.pose is None
        assert 0.5 < np.nanmin(frame.depth_m) < np.nanmedian(frame.depth_m) < 2.5


@needs_livingroom
def test_the_living_room_frames_agree_in_the_world():
    frames = read_folder(LIVINGROOM, intrinsics='525,525,319.5,239.5')
    assert len(frames) == 5
    first, last = frames[0], frames[4]
    # Depth seen from the first pose, moved to the last pose, is what the last frame measured.
    moved = register_depth(
        first.depth_m,
        first.intrinsics,
        last.intrinsics,
        np.linalg.inv(last.pose) @ first.pose,
    )
    error = np.abs(moved - last.depth_m)
    still = np.abs(first.depth_m - last.depth_m)
    assert np.isfinite(error).mean() > 0.7
    assert np.nanmedian(error) < 0.01
    assert np.nanmedian(error) < 0.3 * np.nanmedian(still)


@needs_livingroom
def test_the_living_room_frames_written_and_read_again(tmp_path):
    frames = read_folder(LIVINGROOM, intrinsics='525,525,319.5,239.5')[:2]
    again = write_folder(tmp_path, frames)
    for ours, theirs in zip(again, frames, strict=True):
        np.testing.assert_array_equal(ours.rgb, theirs.rgb)
        np.testing.assert_array_equal(ours.depth_m, theirs.depth_m)
        np.testing.assert_array_equal(ours.pose, theirs.pose)
        assert ours.intrinsics == theirs.intrinsics
