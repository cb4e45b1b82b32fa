"""Episodes on disk: OpenEQA's folders and questions, bags, and `tosa world` which writes them."""

import json
import os
import shutil
import uuid

import numpy as np
import pytest
from PIL import Image
from rosbags.highlevel import AnyReader

from tosa_ros.cli.main import build_parser
from tosa_ros.errors import DataError, TosaError
from tosa_ros.messages import quaternion
from tosa_ros.sources.bags import frames_to_bag
from tosa_ros.sources.bags.writing import START_S
from tosa_ros.synthetic import episode
from tosa_ros.synthetic.render import look

OPENEQA_CATEGORIES = {
    'attribute recognition',
    'functional reasoning',
    'object localization',
    'object recognition',
    'object state recognition',
    'spatial understanding',
    'world knowledge',
}


def tosa_world(*arguments):
    args = build_parser('world').parse_args(['world', *map(str, arguments)])
    return args.run(args)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp('world') / 'made' / 'here'
    code = tosa_world(
        '--out', out, '--episodes', 2, '--start', 4, '--frames', 3, '--format', 'both'
    )
    assert code == 0
    return out


@pytest.fixture(scope='module')
def made():
    return episode('test', 5, frames=3)


def test_frames_are_in_openeqas_layout(written, made):
    folder = written / 'frames' / 'tinyworld-v0' / 'test-000005'
    stems = [path.name.removesuffix('-rgb.png') for path in sorted(folder.glob('*-rgb.png'))]
    assert len(stems) == 3
    for stem, frame in zip(stems, made.frames, strict=True):
        np.testing.assert_array_equal(Image.open(folder / f'{stem}-rgb.png'), frame.rgb)
        depth = np.array(Image.open(folder / f'{stem}-depth.png'))
        assert depth.dtype == np.uint16
        np.testing.assert_allclose(depth / 1000, frame.depth_m, atol=0.0005001)
        np.testing.assert_allclose(np.loadtxt(folder / f'{stem}.txt'), frame.pose, atol=1e-6)
    for name in ('intrinsic_color.txt', 'intrinsic_depth.txt'):
        k = np.loadtxt(folder / name)
        assert k.shape == (4, 4)
        np.testing.assert_allclose(k[:3, :3], frame.intrinsics.matrix(), rtol=1e-6)
    assert len(list(folder.iterdir())) == 3 * 3 + 2


def test_questions_have_openeqas_schema(written, made):
    records = json.loads((written / 'questions.json').read_text())
    keys = {'question', 'answer', 'category', 'question_id', 'episode_history'}
    assert all(set(record) == keys for record in records)
    assert {record['category'] for record in records} <= OPENEQA_CATEGORIES
    assert len({uuid.UUID(record['question_id']) for record in records}) == len(records)
    for record in records:
        assert (written / 'frames' / record['episode_history']).is_dir()
    mine = [r for r in records if r['episode_history'] == 'tinyworld-v0/test-000005']
    assert [(r['question'], r['answer']) for r in mine] == [
        (q.text, q.answer) for q in made.questions
    ]


def test_bag_holds_what_a_robot_would_record(written, made):
    by_topic = {}
    with AnyReader([written / 'bags' / 'tinyworld-v0' / 'test-000005']) as reader:
        for connection, time_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            by_topic.setdefault(connection.topic, []).append((time_ns, message))
    assert {topic: len(found) for topic, found in by_topic.items()} == {
        '/camera/color/image_raw': 3,
        '/camera/depth/image_raw': 3,
        '/camera/color/camera_info': 3,
        '/camera/pose': 3,
    }
    for number, frame in enumerate(made.frames):
        found = {topic: messages[number] for topic, messages in by_topic.items()}
        for topic, (time_ns, message) in found.items():
            stamp = message.header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == time_ns
            assert time_ns / 1e9 - START_S == pytest.approx(frame.stamp, abs=1e-6)
            wanted = 'map' if topic == '/camera/pose' else 'camera_color_optical_frame'
            assert message.header.frame_id == wanted
        colour = found['/camera/color/image_raw'][1]
        assert (colour.encoding, colour.step, colour.is_bigendian) == ('rgb8', 384, 0)
        np.testing.assert_array_equal(colour.data.reshape(128, 128, 3), frame.rgb)
        depth = found['/camera/depth/image_raw'][1]
        assert (depth.encoding, depth.step) == ('16UC1', 256)
        metres = depth.data.view('<u2').reshape(128, 128) / 1000
        np.testing.assert_allclose(metres, frame.depth_m, atol=0.0005001)
        info = found['/camera/color/camera_info'][1]
        np.testing.assert_allclose(info.k.reshape(3, 3), frame.intrinsics.matrix())
        np.testing.assert_allclose(info.p.reshape(3, 4)[:, :3], frame.intrinsics.matrix())
        assert (info.width, info.height) == (128, 128)
        pose = found['/camera/pose'][1].pose
        place = [pose.position.x, pose.position.y, pose.position.z]
        np.testing.assert_allclose(place, frame.pose[:3, 3])
        q = pose.orientation
        np.testing.assert_allclose(rotation(q.x, q.y, q.z, q.w), frame.pose[:3, :3], atol=1e-9)


def rotation(x, y, z, w):
    """A unit quaternion's matrix, by the textbook formula."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@pytest.mark.parametrize('yaw', np.linspace(-np.pi, np.pi, 9))
@pytest.mark.parametrize('pitch', [-1.5, -0.3, 0.0, 0.4, 1.2])
def test_quaternions_of_any_view(yaw, pitch):
    matrix = look((0.0, 0.0, 0.0), yaw, pitch)[:3, :3]
    np.testing.assert_allclose(rotation(*quaternion(matrix)), matrix, atol=1e-9)


def test_json_is_one_object_about_what_was_written(tmp_path, capsys):
    tosa_world('--out', tmp_path, '--episodes', 1, '--frames', 2, '--noisy', '--json')
    said = json.loads(capsys.readouterr().out)
    records = json.loads((tmp_path / 'questions.json').read_text())
    assert said['questions'] == len(records) == sum(said['types'].values())
    assert sum(said['categories'].values()) == len(records)
    assert (said['episodes'], said['frames']) == (1, 2)
    assert said['bags_root'] is None
    assert not (tmp_path / 'bags').exists()
    depth = np.array(Image.open(next((tmp_path / 'frames').rglob('*-depth.png'))))
    assert (depth == 0).any()


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (('--split', 'exam'), "split: 'exam'"),
        (('--episodes', 0), '--episodes: 0; wanted at least 1'),
        (('--frames', 1), 'frames: 1'),
        (('--size', 5), 'size: 5'),
        (('--start', -2), 'index: -2'),
        (('--questions', -1), 'questions: -1'),
    ],
)
def test_bad_arguments_are_named_and_leave_no_questions(tmp_path, arguments, match):
    with pytest.raises(DataError, match=match):
        tosa_world('--out', tmp_path, *arguments)
    assert not (tmp_path / 'questions.json').exists()


def test_nothing_is_overwritten(written, tmp_path):
    with pytest.raises(DataError, match=r'questions\.json: already exists'):
        tosa_world('--out', written)
    taken = tmp_path / 'frames' / 'tinyworld-v0' / 'test-000000'
    taken.mkdir(parents=True)
    with pytest.raises(DataError, match='test-000000: already exists'):
        tosa_world('--out', tmp_path, '--frames', 2)
    assert list(taken.iterdir()) == []
    file = tmp_path / 'file'
    file.write_text('')
    with pytest.raises(DataError, match='is a file; wanted a folder'):
        tosa_world('--out', file)


def test_a_failed_write_leaves_nothing_behind(tmp_path, made, monkeypatch):
    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(TosaError, match='No space left on device'):
        frames_to_bag(tmp_path / 'episode', made.frames)
    with pytest.raises(TosaError, match='No space left on device'):
        tosa_world('--out', tmp_path, '--episodes', 1, '--frames', 2)
    shutil.rmtree(tmp_path / 'frames')
    assert list(tmp_path.iterdir()) == []
