"""Images, depth, poses and the scene graph agree."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tosa_ros.errors import MissingDependencyError, MissingLibraryError
from tosa_ros.frames import Intrinsics
from tosa_ros.synthetic import COLOURS, single
from tosa_ros.synthetic.meshes import SHAPES, shape_mesh
from tosa_ros.synthetic.objects import COLOUR_VALUES
from tosa_ros.synthetic.render import Light, Stage, look, silhouette_pixels
from tosa_ros.synthetic.rooms import STYLES, build_room


def world_points(frame):
    """Back-projected pixels, one obvious step at a time."""
    v, u = np.mgrid[: frame.height, : frame.width].astype(float)
    k, z = frame.intrinsics, frame.depth_m.astype(float)
    camera = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z], -1)
    return camera @ frame.pose[:3, :3].T + frame.pose[:3, 3]


def test_pixels_lie_on_their_objects(samples):
    for sample in samples[::5]:
        points = world_points(sample.frame)
        for i, thing in enumerate(sample.objects):
            mine = points[sample.instances == i]
            assert len(mine) == thing.visible_pixels
            away = np.abs(mine - thing.centre) - np.array(thing.extent) / 2
            assert (away < 0.01).all(), thing.name


def test_pixels_of_an_episode_lie_on_their_objects(episodes):
    for made in episodes[:3]:
        for frame, instances in zip(made.frames, made.instances, strict=True):
            points = world_points(frame)
            for i in np.unique(instances[instances >= 0]):
                thing = made.objects[i]
                away = np.abs(points[instances == i] - thing.centre) - np.array(thing.extent) / 2
                assert (away < 0.01).all(), thing.name


def test_pictures_are_upright(samples):
    for sample in samples:
        heights = world_points(sample.frame)[..., 2]
        assert np.abs(heights[-1][sample.instances[-1] < 0]).max() < 0.05, 'floor is at the bottom'
        assert heights[0].min() > heights[-1].max()
        assert heights.min() > -0.01
        rotation = sample.frame.pose[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert rotation[2, 1] < -0.8, "the image's down is the world's down"


def test_right_in_the_world_is_right_in_the_picture(samples):
    for sample in samples[:20]:
        right = world_points(sample.frame) @ sample.frame.pose[:3, 0]
        assert (right[:, -1] > right[:, 0]).all()


def test_things_stand_where_the_scene_graph_says(samples):
    for sample in samples:
        for thing in sample.objects:
            bottom = thing.centre[2] - thing.extent[2] / 2
            if thing.support != 'on':
                assert bottom == pytest.approx(0, abs=1e-6)
            if thing.support == 'floor':
                assert thing.host is None
                continue
            table = sample.objects[thing.host]
            assert table.shape == 'table'
            assert np.abs(np.subtract(thing.centre, table.centre))[:2].max() < 0.3
            if thing.support == 'on':
                assert bottom == pytest.approx(table.centre[2] + table.extent[2] / 2, abs=1e-5)
            else:
                assert thing.extent[2] < table.extent[2] - 0.1


def test_names_are_unique_and_things_apart(samples, episodes):
    for made in (*samples, *episodes):
        names = [thing.name for thing in made.objects]
        assert len(set(names)) == len(names)
        standing = [thing for thing in made.objects if thing.support == 'floor']
        for i, a in enumerate(standing):
            for b in standing[:i]:
                gap = np.hypot(*np.subtract(a.centre, b.centre)[:2])
                assert gap > (max(a.extent[:2]) + max(b.extent[:2])) / 2 * 0.8


@pytest.mark.parametrize('shape', SHAPES)
def test_meshes_are_closed_and_face_outwards(shape):
    """Each edge is used once in each direction, and the enclosed volume is positive."""
    mesh = shape_mesh(shape)
    corners = np.round(mesh.vertices, 4)
    _, same = np.unique(corners, axis=0, return_inverse=True)
    faces = same.reshape(-1)[mesh.triangles]
    faces = faces[[len(set(face)) == 3 for face in faces.tolist()]]  # poles and tips
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forth, counts = np.unique(edges, axis=0, return_counts=True)
    back, back_counts = np.unique(edges[:, ::-1], axis=0, return_counts=True)
    np.testing.assert_array_equal(forth, back)
    np.testing.assert_array_equal(counts, back_counts)
    a, b, c = (mesh.vertices[mesh.triangles[:, i]].astype(float) for i in range(3))
    assert np.einsum('ij,ij->', a, np.cross(b, c)) / 6 > 0.001
    assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)


def test_silhouette_is_what_rendering_a_thing_alone_covers(samples):
    """Uncropped and unoccluded: in a camera of the same focal length with a far larger image."""
    light = Light(positions=((1.0, 1.0, 2.0),))
    checked = 0
    for sample in samples[:48:8]:
        room = build_room(np.random.default_rng(0), STYLES['test'], 'stone')
        k = sample.frame.intrinsics
        wide = Intrinsics(k.fx, k.fy, 191.5, 191.5, 384, 384)
        for thing in sample.objects:
            alone = Stage((replace(room, slabs=room.slabs[:1]),), (thing,))
            view = alone.view(wide, sample.frame.pose, light, np.random.default_rng(0))
            covered = int((view.instances == 0).sum())
            assert silhouette_pixels(thing, k, sample.frame.pose) == pytest.approx(
                covered, rel=0.12, abs=8
            )
            checked += 1
    assert checked > 25


def test_the_image_shows_every_colour(samples):
    """The nearest named colour, brightness set aside, of an object's pixels is its own."""
    values = np.array([COLOUR_VALUES[c] for c in COLOURS])
    directions = values / np.linalg.norm(values, axis=1, keepdims=True)
    right = total = 0
    for sample in samples:
        for i, thing in enumerate(sample.objects):
            if thing.visible_pixels < 50:
                continue
            mean = sample.frame.rgb[sample.instances == i].mean(0)
            guess = COLOURS[int(np.argmax(directions @ mean))]
            right += guess == thing.colour
            total += 1
    assert total > 200
    assert right / total > 0.98


def test_hidden_things_are_darker_in_the_shadow():
    room = build_room(np.random.default_rng(1), STYLES['test'], 'stone')
    sample = next(
        s
        for s in (single('test', i, questions=0) for i in range(60))
        if any(t.shape == 'table' and t.visible_fraction > 0.9 for t in s.objects)
    )
    table = next(t for t in sample.objects if t.shape == 'table')
    top = (table.centre[0], table.centre[1])
    light = Light(positions=((*top, 2.4),), noise=0.0)
    bare = replace(room, slabs=(replace(room.slabs[0], surface=_plain(room)), *room.slabs[1:]))
    pose = look((top[0], top[1] - 3.0, 1.0), 0.0, 0.2)
    k = sample.frame.intrinsics
    lit = Stage((bare,), ()).view(k, pose, light, np.random.default_rng(0))
    shaded = Stage((bare,), (table,)).view(k, pose, light, np.random.default_rng(0))
    floor = world_points_of(lit, k, pose)
    under = (
        (np.abs(floor[..., 2]) < 0.01)
        & (np.hypot(floor[..., 0] - top[0], floor[..., 1] - top[1]) < 0.3)
        & (shaded.instances < 0)
    )
    assert under.sum() > 10
    assert shaded.rgb[under].mean() < 0.75 * lit.rgb[under].mean()


def world_points_of(view, k, pose):
    v, u = np.mgrid[: k.height, : k.width].astype(float)
    z = view.depth_m.astype(float)
    camera = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z], -1)
    return camera @ pose[:3, :3].T + pose[:3, 3]


def _plain(room):
    return replace(room.slabs[0].surface, kind='plain')


def test_missing_open3d_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open3d', None)
    with pytest.raises(MissingDependencyError, match=r'open3d.*tosa_ros\[pointcloud\]'):
        single('test', 0)


def test_missing_libusb_is_named_with_its_debian_package(monkeypatch):
    class NoLibusb:
        def find_spec(self, name, *_):
            if name == 'open3d':
                raise ImportError('libusb-1.0.so.0: cannot open shared object file')

    monkeypatch.delitem(sys.modules, 'open3d', raising=False)
    monkeypatch.setattr(sys, 'meta_path', [NoLibusb(), *sys.meta_path])
    with pytest.raises(MissingLibraryError, match=r'libusb-1\.0, .*: apt install libusb-1\.0-0'):
        single('test', 0)
