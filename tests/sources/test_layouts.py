"""Folders as data sets and phones write them: intrinsics, poses, depth in metres, by each format.

Every folder here is written by the format's own rules, with what its tools really leave in it.
"""

from __future__ import annotations

import json
import random
import re
import warnings

import numpy as np
import pytest
from hostile import result_or_line
from PIL import Image

from tosa_ros.errors import DepthError, FrameError, TosaError
from tosa_ros.frames import DepthDoubt, Intrinsics
from tosa_ros.messages.poses import quaternion
from tosa_ros.sources import open_source, read_folder
from tosa_ros.sources.layouts import LAYOUTS, is_of_photos, layout_of

WIDTH, HEIGHT = 32, 24
CAMERA = Intrinsics(30.0, 31.0, 15.0, 11.0, WIDTH, HEIGHT)
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def pose(seed=0):
    """Any rotation and a translation, camera-to-world of the optical frame."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    made = np.eye(4)
    made[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    made[:3, 3] = rng.normal(size=3)
    return made


def rotation_vector(rotation):
    x, y, z, w = quaternion(rotation)
    axis = np.array([x, y, z])
    return axis / np.linalg.norm(axis) * 2 * np.arctan2(np.linalg.norm(axis), w)


def colour(path, seed=0, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8)).save(path)


def depth(path, value, size=(WIDTH, HEIGHT)):
    """Everywhere `value`, 0 in the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = np.full(size[::-1], value, np.uint16)
    raw[0] = 0
    Image.fromarray(raw).save(path)


def text(path, *lines, end='\n', encoding='utf-8'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode(encoding))


def rows(matrix):
    return [' '.join(f'{x:.9f}' for x in row) for row in np.asarray(matrix)]


def matrix_of(camera):
    full = np.eye(4)
    full[:3, :3] = camera.matrix()
    return rows(full)


def check(frame, *, metres=2.0, wanted=None, camera=CAMERA):
    """The frame's depth, pose and intrinsics are these."""
    assert (frame.width, frame.height) == (camera.width, camera.height)
    assert frame.intrinsics == camera
    np.testing.assert_allclose(frame.pose, pose() if wanted is None else wanted, atol=1e-6)
    inside = frame.depth_m[2:]
    np.testing.assert_allclose(inside[np.isfinite(inside)], metres, rtol=1e-6)
    assert np.isfinite(inside).mean() > 0.9
    assert np.isnan(frame.depth_m[0]).all()


def scannet(place):
    """As SensReader leaves it, and a Mac: numbers without zeros, -inf where tracking was lost."""
    for i in (0, 1, 2, 10):
        colour(place / 'color' / f'{i}.jpg', i, (WIDTH * 2, HEIGHT * 2))
        depth(place / 'depth' / f'{i}.png', 2000)
        lines = rows(pose()) if i != 2 else [' '.join(['-inf'] * 4)] * 4
        text(place / 'pose' / f'{i}.txt', *lines)
    for name, camera in (('color', CAMERA.scaled(WIDTH * 2, HEIGHT * 2)), ('depth', CAMERA)):
        text(place / 'intrinsic' / f'intrinsic_{name}.txt', *matrix_of(camera))
        text(place / 'intrinsic' / f'extrinsic_{name}.txt', *rows(np.eye(4)))
    (place / 'color' / '._0.jpg').write_bytes(b'resource fork')
    (place / 'color' / '.DS_Store').touch()


def test_scannet_as_exported(tmp_path):
    scannet(tmp_path)
    assert layout_of(tmp_path) == 'scannet'
    folder = open_source(tmp_path)
    assert folder.stems == ('0', '1', '2', '10')
    assert folder.notes == {}
    assert folder[2].pose is None
    double = CAMERA.scaled(WIDTH * 2, HEIGHT * 2)
    frame = folder[3]
    assert frame.intrinsics.width == double.width
    np.testing.assert_allclose(frame.intrinsics.cx, double.cx, atol=1e-6)
    np.testing.assert_allclose(frame.pose, pose(), atol=1e-6)
    assert np.nanmin(frame.depth_m) == np.nanmax(frame.depth_m) == 2


def test_scannet_colour_that_was_made_smaller_than_its_intrinsics(tmp_path):
    scannet(tmp_path)
    large = Intrinsics(1170, 1170, 648, 484, 1296, 968)
    text(tmp_path / 'intrinsic' / 'intrinsic_color.txt', *matrix_of(large))
    with pytest.raises(FrameError, match=r'0\.jpg: .*\(648, 484\) lies outside of .* 64x48'):
        read_folder(tmp_path)[0]
    assert read_folder(tmp_path, intrinsics='60,60,32,24')[0].intrinsics.cx == 32


def test_scannet_poses_as_windows_writes_them(tmp_path):
    scannet(tmp_path)
    text(tmp_path / 'pose' / '0.txt', *['-1.#INF -1.#IND 1.#QNAN 0'] * 4, end='\r\n')
    text(tmp_path / 'pose' / '1.txt', *rows(pose()), end='\r\n', encoding='utf-8-sig')
    folder = read_folder(tmp_path)
    assert folder[0].pose is None
    np.testing.assert_allclose(folder[1].pose, pose(), atol=1e-6)


def test_a_folder_each_of_colour_and_depth_says_what_it_does_not_say(tmp_path):
    for i in (9, 10):
        colour(tmp_path / 'rgb' / f'{i}.PNG')
        depth(tmp_path / 'depth' / f'{i}.png', 1500)
    folder = open_source(tmp_path)
    assert folder.stems == ('9', '10')
    assert np.nanmax(folder[0].depth_m) == 1.5
    assert {line.partition(': ')[2] for line in folder.notes} == {
        'says nothing of its depth: whole numbers are taken as millimetres',
        'has no intrinsics (--intrinsics): there are no metric points',
    }
    given = open_source(tmp_path, 1500, None, '30,31,15,11')
    assert np.nanmax(given[0].depth_m) == 1
    assert (given[0].intrinsics, given.notes) == (CAMERA, {})
    (tmp_path / 'depth' / '9.png').rename(tmp_path / 'depth' / 'd9.png')
    (tmp_path / 'depth' / '10.png').rename(tmp_path / 'depth' / 'd10.png')
    with pytest.raises(FrameError, match='no file in depth/ is named as one in rgb/'):
        open_source(tmp_path)


def test_the_frames_of_open3ds_recorders(tmp_path):
    colour(tmp_path / 'color' / '00000.jpg')
    depth(tmp_path / 'depth' / '00000.png', 2000)
    k = CAMERA.matrix().T.ravel().tolist()
    camera = {'width': WIDTH, 'height': HEIGHT, 'intrinsic_matrix': k}
    text(tmp_path / 'camera_intrinsic.json', json.dumps(camera))
    text(tmp_path / 'trajectory.log', '0 0 1', *rows(pose()))
    check(read_folder(tmp_path)[0])
    colour(tmp_path / 'color' / '00001.jpg')
    with pytest.raises(FrameError, match=r'trajectory\.log: 5 lines for 2 colour images'):
        read_folder(tmp_path)


@pytest.mark.parametrize('with_depth', [True, False])
def test_posed_images(tmp_path, with_depth):
    for i in range(2):
        colour(tmp_path / f'{i:05d}.jpg', i)
        text(tmp_path / f'{i:05d}.txt', *rows(pose(i)))
        if with_depth:
            depth(tmp_path / f'{i:05d}.png', 2000)
    text(tmp_path / 'intrinsic.txt', *matrix_of(CAMERA))
    assert layout_of(tmp_path) == 'posed_images'
    folder = read_folder(tmp_path)
    assert folder.stems == ('00000', '00001')
    if with_depth:
        check(folder[1], wanted=pose(1))
    assert folder.missing_depth == (0 if with_depth else 2)


def tum(place):
    """Colour and depth at other times, comments, a list with files that are gone."""
    stamps = [1305031102.175304, 1305031102.211214, 1305031102.243211]
    shifts = [-0.0149, 0.0151, 0.03]
    for stamp, shift in zip(stamps, shifts, strict=True):
        colour(place / 'rgb' / f'{stamp:.6f}.png')
        depth(place / 'depth' / f'{stamp + shift:.6f}.png', 10000)
    head = ['# color images', "# file: 'rgbd_dataset.bag'", '# timestamp filename']
    listed = [f'{stamp:.6f} rgb/{stamp:.6f}.png' for stamp in stamps]
    text(place / 'rgb.txt', *head, *listed, '1305031109.0 rgb/gone.png')
    listed = [f'{s + d:.6f} depth/{s + d:.6f}.png' for s, d in zip(stamps, shifts, strict=True)]
    text(place / 'depth.txt', *head, *listed)
    x, y, z, w = quaternion(pose()[:3, :3])
    tx, ty, tz = pose()[:3, 3]
    text(
        place / 'groundtruth.txt',
        '# timestamp tx ty tz qx qy qz qw',
        f'{stamps[0] - 0.01:.4f} 9 9 9 0 0 0 1',
        f'{stamps[0] + 0.002:.4f} {tx} {ty} {tz} {x} {y} {z} {w}',
        f'{stamps[1]:.4f} nan nan nan nan nan nan nan',
        f'{stamps[2] + 0.5:.4f} 0 0 0 0 0 0 1',
    )
    return stamps


def test_tum_joins_by_time(tmp_path):
    stamps = tum(tmp_path)
    assert layout_of(tmp_path) == 'tum'
    folder = open_source(tmp_path)
    assert len(folder) == 3
    frame = folder[0]
    assert frame.stamp == stamps[0]
    np.testing.assert_allclose(frame.pose, pose(), atol=1e-6)
    assert np.nanmin(frame.depth_m) == np.nanmax(frame.depth_m) == 2  # 10000 / 5000
    assert folder[1].pose is None
    assert folder[1].depth_m is not None
    assert (folder[2].pose, folder[2].depth_m) == (None, None)
    said = ' '.join(folder.notes)
    assert '1 of the pictures that rgb.txt lists are not there' in said
    assert '1 of 3 frames have no depth within 0.02 s' in said
    assert '2 of 3 frames have no pose within 0.02 s' in said
    assert 'has no intrinsics' in said


def test_tum_gives_a_depth_image_to_one_colour_image_alone(tmp_path):
    for i in range(2):
        colour(tmp_path / 'rgb' / f'{i}.png')
    text(tmp_path / 'rgb.txt', '1.0 rgb/0.png', '1.015 rgb/1.png')
    depth(tmp_path / 'depth' / 'a.png', 5000)
    depth(tmp_path / 'depth' / 'b.png', 5000)
    text(tmp_path / 'depth.txt', '1.012 depth/a.png', '0.99 depth/b.png')
    assert [one.depth.name for one in read_folder(tmp_path).files] == ['b.png', 'a.png']


def test_tum_cameras_are_known_by_the_names_of_its_sequences(tmp_path):
    place = tmp_path / 'rgbd_dataset_freiburg2_desk'
    tum(place)
    folder = open_source(place)
    wanted = Intrinsics(520.9, 521.0, 325.1, 249.7, 640, 480).scaled(WIDTH, HEIGHT)
    assert folder[0].intrinsics == wanted
    assert any('TUM gives of freiburg2' in line for line in folder.notes)
    text(place / 'calibration.txt', '30 31 15 11')  # ETH3D's
    assert open_source(place)[0].intrinsics == CAMERA


def test_seven_scenes(tmp_path):
    for i in (0, 1):
        colour(tmp_path / f'frame-{i:06d}.color.png')
        raw = np.full((HEIGHT, WIDTH), 2000, np.uint16)
        raw[0], raw[1, :3] = 65535, 0
        Image.fromarray(raw).save(tmp_path / f'frame-{i:06d}.depth.png')
        # Its files end lines with tabs and blanks.
        text(tmp_path / f'frame-{i:06d}.pose.txt', *[f'{row}\t ' for row in rows(pose(i))])
    (tmp_path / 'Thumbs.db').touch()
    assert layout_of(tmp_path) == '7scenes'
    folder = open_source(tmp_path)
    check(
        folder[1],
        wanted=pose(1),
        camera=Intrinsics(585, 585, 320, 240, 640, 480).scaled(WIDTH, HEIGHT),
    )
    (note,) = folder.notes
    assert 'depth is not calibrated to colour' in note
    assert folder[1].doubts == DepthDoubt.ALIGNED


def test_3rscan_has_cameras_and_depth_in_pgm(tmp_path):
    size = WIDTH * 2, HEIGHT * 2
    colour(tmp_path / 'frame-000000.color.jpg', size=size)
    raw = np.full((HEIGHT, WIDTH), 2000, '>u2')
    raw[0] = 0
    header = f'P5\n{WIDTH} {HEIGHT}\n4000\n'.encode()
    (tmp_path / 'frame-000000.depth.pgm').write_bytes(header + raw.tobytes())
    text(tmp_path / 'frame-000000.pose.txt', *rows(pose()))
    large = CAMERA.scaled(*size)
    text(
        tmp_path / '_info.txt',
        'm_versionNumber = 4',
        'm_sensorName = Tango',
        'm_depthShift = 1000',
        'm_calibrationColorIntrinsic = ' + ' '.join(matrix_of(large)),
        'm_calibrationDepthIntrinsic = ' + ' '.join(matrix_of(CAMERA)),
    )
    folder = open_source(tmp_path)
    assert folder.notes == {}
    np.testing.assert_allclose(folder[0].intrinsics.cx, large.cx, atol=1e-6)
    assert np.nanmin(folder[0].depth_m) == np.nanmax(folder[0].depth_m) == 2
    np.testing.assert_allclose(folder[0].pose, pose(), atol=1e-6)


def test_replica(tmp_path):
    place = tmp_path / 'room0'
    for i in range(3):
        colour(place / 'results' / f'frame{i:06d}.jpg')
        depth(place / 'results' / f'depth{i:06d}.png', 13107)
    text(place / 'traj.txt', *[' '.join(rows(pose(i))) for i in range(3)])
    assert layout_of(place) == 'replica'
    folder = open_source(place)
    assert folder.depth_scale == 6553.5
    assert any('cam_params.json is neither here' in line for line in folder.notes)
    camera = {'w': WIDTH, 'h': HEIGHT, 'fx': 30.0, 'fy': 31.0, 'cx': 15.0, 'cy': 11.0}
    text(tmp_path / 'cam_params.json', json.dumps({'camera': {**camera, 'scale': 6553.5}}))
    (place / 'results' / 'frame000001.jpg').unlink()  # somebody kept every second frame
    folder = open_source(place)
    assert (len(folder), folder.notes) == (2, {})
    check(folder[1], wanted=pose(2))
    assert np.isnan(folder[1].depth_m[0]).all()


@pytest.mark.parametrize('kind', ['', 'corrected_'])
def test_polycam(tmp_path, kind):
    base = tmp_path / 'keyframes'
    stamps = (1000000, 999999)
    for i, stamp in enumerate(stamps):
        colour(base / 'images' / f'{stamp}.jpg', size=(WIDTH, HEIGHT))
        depth(base / 'depth' / f'{stamp}.png', 2000, (WIDTH // 4, HEIGHT // 4))
        colour(base / 'confidence' / f'{stamp}.png', size=(WIDTH // 4, HEIGHT // 4))
        for name in {'', kind}:
            wanted = pose(i) if name == kind else np.eye(4)
            camera = {f't_{r}{c}': (wanted @ FLIP)[r, c] for r in range(3) for c in range(4)}
            camera |= {'fx': 30, 'fy': 31.0, 'cx': 15.0, 'cy': 11.0}
            camera |= {'width': WIDTH, 'height': HEIGHT, 'blur_score': 99.5, 'neighbors': []}
            text(base / f'{name}cameras' / f'{stamp}.json', json.dumps(camera))
            colour(base / f'{name}images' / f'{stamp}.jpg')
    text(tmp_path / 'mesh_info.json', '{}')
    assert layout_of(tmp_path) == layout_of(base) == 'polycam'
    folder = open_source(tmp_path)
    assert folder.stems == ('999999', '1000000')
    frame = folder[1]
    assert frame.intrinsics == CAMERA
    np.testing.assert_allclose(frame.pose, pose(0), atol=1e-6)
    assert np.isnan(frame.depth_m[:4]).all()
    assert (frame.depth_m[4:] == 2).all()
    assert folder.notes == {}
    assert frame.stamp == 1.0


def record3d(base, count=2, per_frame=False):
    OpenEXR = pytest.importorskip('OpenEXR')
    small = WIDTH // 4, HEIGHT // 4
    for i in range(count):
        colour(base / 'rgb' / f'{i}.jpg')
        metres = np.full(small[::-1], 2, np.float32)
        metres[0] = np.nan
        (base / 'depth').mkdir(exist_ok=True)
        OpenEXR.File({}, {'R': metres}).write(str(base / 'depth' / f'{i}.exr'))
    poses = []
    for i in range(count):
        phone = pose(i) @ FLIP
        poses.append([*quaternion(phone[:3, :3]), *phone[:3, 3]])
    held = {
        'K': CAMERA.matrix().T.ravel().tolist(),
        'w': WIDTH,
        'h': HEIGHT,
        'dw': small[0],
        'dh': small[1],
        'fps': 60,
        'initPose': [0, 0, 0, 1, 0, 0, 0],
        'poses': poses,
    }
    if per_frame:
        held['perFrameIntrinsicCoeffs'] = [[30.0 + i, 31.0, 15.0, 11.0] for i in range(count)]
    text(base / 'metadata.json', json.dumps(held))


@pytest.mark.parametrize('per_frame', [False, True])
def test_record3d(tmp_path, per_frame):
    record3d(tmp_path / 'EXR_RGBD', 11, per_frame)
    (tmp_path / 'EXR_RGBD' / 'sound.m4a').touch()
    assert layout_of(tmp_path) == layout_of(tmp_path / 'EXR_RGBD') == 'record3d'
    folder = open_source(tmp_path)
    assert folder.stems[1:3] == ('1', '2')
    frame = folder[10]
    assert frame.intrinsics.fx == (40 if per_frame else 30)
    np.testing.assert_allclose(frame.pose, pose(10), atol=1e-6)
    assert np.isnan(frame.depth_m[:4]).all()
    assert (frame.depth_m[4:] == 2).all()
    assert (folder.notes, frame.stamp) == ({}, 10 / 60)


def arkitscenes(base, video='41069021'):
    stamps = (305.377, 1305.394, 1305.41)
    lines = []
    for i, stamp in enumerate(stamps):
        colour(base / 'lowres_wide' / f'{video}_{stamp:.3f}.png')
        depth(base / 'lowres_depth' / f'{video}_{stamp:.3f}.png', 2000)
        colour(base / 'confidence' / f'{video}_{stamp:.3f}.png')
        # The names of cameras may be a millisecond off.
        name = f'{video}_{stamp + 0.001 * (i == 1):.3f}.pincam'
        text(base / 'lowres_wide_intrinsics' / name, f'{WIDTH} {HEIGHT} 30.0 31.0 15.0 11.0')
        to_camera = np.linalg.inv(pose(i))
        row = [stamp + 0.0004, *rotation_vector(to_camera[:3, :3]), *to_camera[:3, 3]]
        lines.append(' '.join(f'{x:.9f}' for x in row))
    text(base / 'lowres_wide.traj', *lines[:2])


def test_arkitscenes(tmp_path):
    arkitscenes(tmp_path / '41069021_frames')
    (tmp_path / '41069021_3dod_mesh.ply').touch()
    assert layout_of(tmp_path) == layout_of(tmp_path / '41069021_frames') == 'arkitscenes'
    folder = open_source(tmp_path)
    check(folder[0])
    check(folder[1], wanted=pose(1))
    assert folder[2].pose is None
    assert list(folder.notes) == [
        f'{tmp_path}: 1 of 3 frames have no pose in lowres_wide.traj',
    ]


def nerfstudio(place, **more):
    frames = []
    for i in (2, 10, 1):
        colour(place / 'images' / f'frame_{i}.jpeg')
        depth(place / 'depth' / f'frame_{i}.png', 4000)
        frames.append(
            {
                'file_path': f'./images/frame_{i}.jpeg',
                'depth_file_path': f'depth\\frame_{i}.png',
                'transform_matrix': (pose(i) @ FLIP).tolist(),
                'colmap_im_id': i,
            }
        )
    held = {'camera_model': 'OPENCV', 'fl_x': 30, 'fl_y': 31.0, 'cx': 15.0, 'cy': 11.0}
    held |= {'w': WIDTH, 'h': HEIGHT, 'k1': 0.0, 'k2': 0, 'frames': frames, **more}
    text(place / 'transforms.json', json.dumps(held))
    return held


def test_nerfstudio(tmp_path):
    nerfstudio(tmp_path, depth_unit_scale_factor=0.0005)
    assert layout_of(tmp_path) == 'nerfstudio'
    folder = open_source(tmp_path)
    assert folder.stems == ('frame_1', 'frame_2', 'frame_10')
    check(folder[2], wanted=pose(10))
    assert folder.notes == {}


def test_nerfstudio_says_what_it_takes_for_granted(tmp_path):
    held = nerfstudio(tmp_path, k1=0.1, applied_scale=0.5)
    (tmp_path / 'images' / 'frame_10.jpeg').unlink()
    (tmp_path / 'depth' / 'frame_1.png').unlink()
    folder = open_source(tmp_path)
    wanted = pose(2)
    wanted[:3, 3] *= 2
    check(folder[1], metres=4, wanted=wanted)
    said = ' '.join(folder.notes)
    assert 'no depth_unit_scale_factor: depth in whole numbers is taken as millimetres' in said
    assert 'distortion of its lens is not undone' in said
    assert '1 of the pictures in transforms.json are not there' in said
    assert '1 of the depth files in transforms.json are not there' in said
    assert folder[0].depth_m is None
    for one in held['frames']:
        one['depth_file_path'] = 'depth/d.npy'
    text(tmp_path / 'transforms.json', json.dumps(held))
    np.save(tmp_path / 'depth' / 'd.npy', np.full((HEIGHT, WIDTH), 2, np.float32))
    with pytest.raises(DepthError, match=r'd\.npy: are its floats metres or millimetres\?'):
        open_source(tmp_path)[0]
    assert (open_source(tmp_path, 1)[0].depth_m == 2).all()
    held['depth_unit_scale_factor'] = 0.001
    np.save(tmp_path / 'depth' / 'd.npy', np.full((HEIGHT, WIDTH), 2000, np.float32))
    text(tmp_path / 'transforms.json', json.dumps(held))
    assert (open_source(tmp_path)[0].depth_m == 2).all()


def test_nerfstudio_cameras_of_each_frame_of_other_sizes_and_of_blender(tmp_path):
    held = nerfstudio(tmp_path, w=WIDTH * 2, h=HEIGHT * 2, depth_unit_scale_factor=0.0005)
    half = Intrinsics(30, 31, 15, 11, WIDTH * 2, HEIGHT * 2).scaled(WIDTH, HEIGHT)
    assert open_source(tmp_path)[0].intrinsics == half
    for name in ('fl_x', 'fl_y', 'cx', 'cy', 'w', 'h'):
        held.pop(name)
    held['frames'][2] |= {'fl_x': 33.0, 'w': WIDTH, 'h': HEIGHT}
    held['frames'][0]['file_path'] = './images/frame_2'
    colour(tmp_path / 'images' / 'frame_2.png')
    held['camera_angle_x'] = 2 * np.arctan(1.0)
    text(tmp_path / 'transforms.json', json.dumps(held))
    one, two, _ = open_source(tmp_path)
    assert one.intrinsics == Intrinsics(33, 33, 16, 12, WIDTH, HEIGHT)
    np.testing.assert_allclose(two.intrinsics.fx, 16)
    held['camera_model'] = 'OPENCV_FISHEYE'
    text(tmp_path / 'transforms.json', json.dumps(held))
    folder = open_source(tmp_path)
    assert folder[0].intrinsics is None
    assert any('OPENCV_FISHEYE is no pinhole' in line for line in folder.notes)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('transforms.json', '[]', 'transforms.json: holds list; wanted a JSON object'),
        ('transforms.json', '{"frames": 3}', "wanted a list of objects, 'frames'"),
        ('transforms.json', '{"frames": [{}]}', 'frame 0: None is no name of a file'),
        ('rgb.txt', '1.0', r"rgb\.txt, line 1: '1\.0'; wanted a stamp and a file"),
        ('rgb.txt', '1.0 a.png', r'rgb\.txt: none of its 1 pictures is there'),
        ('rgb.txt', 'one a.png', r'rgb\.txt, line 1: not a matrix of numbers'),
    ],
)
def test_lists_that_are_broken_are_named_in_one_line(tmp_path, name, content, message):
    text(tmp_path / name, content)
    with pytest.raises(FrameError, match=message) as error:
        open_source(tmp_path)
    assert len(str(error.value).splitlines()) == 1


def test_two_layouts_in_one_folder_are_never_chosen_between_in_silence(tmp_path):
    scannet(tmp_path)
    nerfstudio(tmp_path)
    with pytest.raises(FrameError, match='may be of the layouts scannet and nerfstudio; name one'):
        open_source(tmp_path)
    assert open_source(tmp_path, layout='nerfstudio').stems[0] == 'frame_1'
    assert open_source(tmp_path, layout='scannet').stems[0] == '0'


def test_every_layout_says_what_it_wants_and_refuses_an_empty_folder(tmp_path):
    for name, layout in LAYOUTS.loaded().items():
        assert not layout.matches(tmp_path), name
        with pytest.raises(TosaError) as error:
            read_folder(tmp_path, layout=name)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(FrameError) as error:
        read_folder(tmp_path)
    assert all(f'({name})' in str(error.value) for name in LAYOUTS if name != 'photos')


def test_photos_are_not_of_another_layout(tmp_path):
    colour(tmp_path / 'frame-000000.color.png')
    assert not is_of_photos(tmp_path)
    colour(tmp_path / 'album' / 'IMG_0001.JPG')
    assert is_of_photos(tmp_path / 'album')


def everything(place):
    """A folder of every layout that has numbers in texts; the texts of each."""
    scannet(place / 'scannet')
    tum(place / 'tum')
    nerfstudio(place / 'nerfstudio', depth_unit_scale_factor=0.0005)
    arkitscenes(place / 'arkitscenes')
    record3d(place / 'record3d', 3, per_frame=True)
    camera = {'w': WIDTH, 'h': HEIGHT, 'fx': 30.0, 'fy': 31.0, 'cx': 15.0, 'cy': 11.0}
    held = {'fx': 30, 'fy': 31.0, 'cx': 15.0, 'cy': 11.0, 'width': WIDTH, 'height': HEIGHT}
    held |= {f't_{r}{c}': pose()[r, c] for r in range(3) for c in range(4)}
    for i in range(2):
        colour(place / 'replica' / 'results' / f'frame{i:06d}.jpg')
        colour(place / 'polycam' / 'images' / f'{i}.jpg')
        colour(place / '3rscan' / f'frame-{i:06d}.color.jpg')
        text(place / 'polycam' / 'cameras' / f'{i}.json', json.dumps(held))
        text(place / '3rscan' / f'frame-{i:06d}.pose.txt', *rows(pose(i)))
    text(place / 'replica' / 'traj.txt', *[' '.join(rows(pose(i))) for i in range(2)])
    camera = {'camera': {**camera, 'scale': 6553.5}}
    text(place / 'replica' / 'cam_params.json', json.dumps(camera))
    info = ['m_depthShift = 1000', 'm_calibrationColorIntrinsic = ' + ' '.join(matrix_of(CAMERA))]
    text(place / '3rscan' / '_info.txt', *info)
    kinds = ('.txt', '.json', '.pincam', '.traj')
    return {
        folder: sorted(file for file in folder.rglob('*') if file.suffix in kinds)
        for folder in sorted(place.iterdir())
    }


NOT_NUMBERS = ('nan', '-inf', '1e999', '0', '-1', 'x', '[]', 'null', '"x"', '{}', '9' * 20)


def test_damaged_text_of_any_layout_is_a_result_or_one_line(tmp_path):
    texts = everything(tmp_path)
    assert len(texts) == 8
    draws = random.Random(0)
    for _ in range(400):
        folder = draws.choice([*texts])
        file = draws.choice(texts[folder])
        whole = file.read_text()
        one = draws.choice([*re.finditer(r'-?[\d.]+|"[^"]*"|-inf|nan', whole)])
        file.write_text(whole[: one.start()] + draws.choice(NOT_NUMBERS) + whole[one.end() :])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of odd medians
            result_or_line(lambda folder=folder: [*open_source(folder)])
        file.write_text(whole)
