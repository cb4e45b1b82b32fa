"""Bags in the forms in which people have them: logged, compressed as a whole, mixed, undefined."""

from __future__ import annotations

import base64
import gc
import json
import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing

import numpy as np
import pytest
from mcaps import Channel, write_mcap

from tosa_ros.errors import DataError
from tosa_ros.messages.making import encoded
from tosa_ros.messages.zstd import zstd_library
from tosa_ros.sources import open_source
from tosa_ros.sources.bags import BagFrames
from tosa_ros.sources.bags import stand_ins as stand_ins_module
from tosa_ros.sources.bags.definitions import standard_types

pytest.importorskip('rosbags')
START_NS = 10**18


def assert_same(bag, frames, count=3):
    assert len(bag) == count
    for index in range(count):
        wanted = frames[index % len(frames)]
        np.testing.assert_array_equal(bag[index].rgb, wanted.rgb)
        np.testing.assert_allclose(bag[index].depth_m, wanted.depth_m, atol=1e-6)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory, monkeypatch):
    """Every copy goes with its bag."""
    place = tmp_path_factory.mktemp('copies')
    monkeypatch.setattr(tempfile, 'tempdir', str(place))
    yield
    gc.collect()
    assert list(place.iterdir()) == []


@pytest.fixture
def logged(make, frames, write_bag, recording, tmp_path):
    """A folder whose newest four images are in SQLite's write-ahead log."""

    def build(count=6, kept=2):
        path = write_bag(recording(make, frames, n=count), 'sqlite3', name='written')
        [file] = path.glob('*.db3')
        made = tmp_path / 'bag'
        made.mkdir()
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            rows = database.execute(
                'SELECT * FROM messages WHERE timestamp >= ?', (START_NS + kept * 10**8,)
            ).fetchall()
            database.execute(
                'DELETE FROM messages WHERE timestamp >= ?', (START_NS + kept * 10**8,)
            )
            database.execute('PRAGMA journal_mode=WAL')
            database.execute('PRAGMA wal_autocheckpoint=0')
            database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
            database.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', rows)
            for one in path.glob('*.db3*'):
                shutil.copyfile(one, made / one.name)
        return made

    return build


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_newest_messages_are_in_the_log(logged, frames):
    folder = logged()
    before = contents(folder)
    assert any(name.endswith('-wal') and data for name, data in before.items())
    bag = BagFrames(folder)
    assert_same(bag, frames, 6)
    assert any('newest messages are in written.db3-wal' in note for note in bag.notes)
    assert not any('metadata' in note for note in bag.notes)
    assert_same(BagFrames(folder / 'written.db3'), frames, 6)
    assert contents(folder) == before
    # Without the log, the file is as SQLite last wrote it.
    (folder / 'written.db3-wal').unlink()
    assert len(BagFrames(folder)) == 2


def test_metadata_that_are_older_than_the_log_do_not_hide_it(logged, frames, tmp_path):
    folder = logged()
    text = (tmp_path / 'written' / 'metadata.yaml').read_text()
    (folder / 'metadata.yaml').write_text(text.replace('message_count: 6', 'message_count: 0'))
    assert_same(BagFrames(folder), frames, 6)


def test_the_log_of_one_file_of_several_is_read(logged, frames, make, write_bag, recording):
    folder = logged(count=3, kept=0)
    earlier = [(t, received - 10**10, m) for t, received, m in recording(make, frames)]
    for _, _, message in earlier:
        message.header.stamp.sec -= 10
    shutil.copyfile(write_bag(earlier, 'sqlite3', name='a') / 'a.db3', folder / 'a.db3')
    assert_same(BagFrames(folder), frames, 6)


def test_a_damaged_log_is_said(logged, frames):
    folder = logged()
    [log] = folder.glob('*-wal')
    log.write_bytes(b'nonsense' * 1000)
    bag = BagFrames(folder)
    assert_same(bag, frames, 2)


def change_log(folder, *statements):
    """Runs statements that are in the log alone."""
    [file], [log] = folder.glob('*.db3'), folder.glob('*-wal')
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute('PRAGMA wal_autocheckpoint=0')
        for statement in statements:
            database.execute(statement)
        kept = {path: path.read_bytes() for path in (file, log)}
    for path, data in kept.items():
        path.write_bytes(data)


def test_the_log_of_a_hostile_file_runs_nothing(logged, frames, tmp_path):
    folder, written = logged(), tmp_path / 'written.txt'
    statement = f"VACUUM INTO ''{written}''"
    change_log(
        folder,
        'PRAGMA writable_schema=ON',
        f"INSERT INTO sqlite_master VALUES ('table', 'a0', 'a0', 0, '{statement}')",
    )
    bag = BagFrames(folder)
    assert_same(bag, frames, 2)
    assert any('malformed database schema (a0)' in note for note in bag.notes)
    assert not written.exists()


def test_a_log_that_brings_more_than_rows_is_refused(logged):
    folder = logged()
    change_log(
        folder, 'DROP TABLE message_definitions', 'CREATE VIEW message_definitions AS SELECT 1'
    )
    with pytest.raises(DataError, match='more than stored rows'):
        BagFrames(folder)


def test_a_copy_that_the_disk_cannot_take_is_refused(logged, monkeypatch):
    folder = logged()
    monkeypatch.setattr(stand_ins_module, '_free_bytes', lambda _: 1000)
    with pytest.raises(DataError, match=r'more than 0 MiB .*TMPDIR'):
        BagFrames(folder)


def test_an_interrupted_writing_is_said(logged):
    folder = logged()
    [file] = folder.glob('*.db3')
    (folder / f'{file.name}-journal').write_bytes(bytes.fromhex('d9d505f920a163d7') + bytes(500))
    assert any('last writing was interrupted' in note for note in BagFrames(folder).notes)


@pytest.fixture
def compressed(make, frames, recording, write_bag):
    """A bag that rosbag2 compressed file by file."""

    def build(storage, messages=None):
        return write_bag(messages or recording(make, frames), storage, compressed='FILE')

    return build


@pytest.mark.parametrize('metadata', [True, False])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_compressed_as_a_whole_is_read(compressed, frames, storage, metadata):
    path = compressed(storage)
    [file] = path.glob('*.zstd')
    if not metadata:
        (path / 'metadata.yaml').unlink()
    before = contents(path)
    bag = BagFrames(path)
    assert_same(bag, frames)
    assert any('metadata' in note for note in bag.notes) != metadata
    assert_same(open_source(file), frames)
    assert_same(open_source(path), frames)
    assert contents(path) == before
    file.rename(file.with_suffix('.zst'))
    assert_same(open_source(path), frames)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_compressed_file_that_is_cut_off_is_read_as_far_as_it_goes(compressed, make, storage):
    noise = np.random.default_rng(0).integers(0, 255, (10, 240, 320, 3), np.uint8)
    messages = [
        ('/image', START_NS + i, make.image(pixels, 'rgb8', START_NS + i))
        for i, pixels in enumerate(noise)
    ]
    [file] = compressed(storage, messages).glob('*.zstd')
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    bag = BagFrames(file)
    assert 2 < len(bag) < 7
    np.testing.assert_array_equal(bag[len(bag) - 1].rgb, noise[len(bag) - 1])
    assert any('is damaged' in note for note in bag.notes)


def test_a_file_that_lies_beside_its_compressed_copy_is_read_once(compressed, frames):
    path = compressed('sqlite3')
    [file] = path.glob('*.zstd')
    file.with_suffix('').write_bytes(zstd_library().decompress(file.read_bytes()))
    assert_same(BagFrames(path), frames)


def test_a_compressed_file_of_nonsense_is_refused(tmp_path):
    (tmp_path / 'x.db3.zstd').write_bytes(b'nonsense')
    with pytest.raises(DataError, match=r'x\.db3\.zstd: cannot be decompressed'):
        BagFrames(tmp_path / 'x.db3.zstd')


def test_a_file_that_the_metadata_leave_out_is_said(make, frames, write_bag, recording):
    path = write_bag(recording(make, frames))
    shutil.copyfile(path / 'bag.mcap', path / 'bag_1.mcap')
    bag = BagFrames(path)
    assert_same(bag, frames)
    assert any('bag_1.mcap is not in metadata.yaml' in note for note in bag.notes)


@pytest.fixture
def ros2_channels(make, frames, recording, types):
    """Channels and messages of a recording, for write_mcap."""

    def build(defined=True, encoding='cdr', name='sensor_msgs/msg/'):
        channels, messages = {}, []
        for topic, received, message in recording(make, frames):
            kind = message.__msgtype__
            definition = types.generate_msgdef(kind, ros_version=2)[0] if defined else ''
            schema = kind.replace('sensor_msgs/msg/', name)
            channels.setdefault(
                topic,
                Channel(
                    topic,
                    schema,
                    'ros2msg' if encoding == 'cdr' else 'ros1msg',
                    definition.encode(),
                    encoding,
                ),
            )
            data = types.serialize_cdr(message, kind)
            if encoding == 'ros1':
                data = types.cdr_to_ros1(data, kind)
            messages.append((list(channels).index(topic), received, bytes(data)))
        return list(channels.values()), messages

    return build


@pytest.mark.parametrize('summary', [True, False])
def test_channels_of_other_encodings_do_not_stop_the_rest(
    ros2_channels, frames, tmp_path, summary
):
    channels, messages = ros2_channels()
    others = [
        Channel('/diag', 'Diag', 'jsonschema', b'{"type": "object"}', 'json'),
        Channel('/proto', 'foxglove.Log', 'protobuf', b'\x0a\xff\xfe\x80binary', 'protobuf'),
        Channel('/bare', '', encoding='json'),
    ]
    others_sent = [
        (len(channels) + i, START_NS + i, json.dumps({'ok': True}).encode()) for i in range(3)
    ]
    path = write_mcap(
        tmp_path / 'mixed.mcap', channels + others, messages + others_sent, summary=summary
    )
    bag = BagFrames(path)
    assert_same(bag, frames)
    [note] = [note for note in bag.notes if 'left out' in note]
    for name in ('/diag (json Diag)', '/proto (protobuf foxglove.Log)', '/bare (json'):
        assert name in note


@pytest.mark.parametrize('summary', [True, False])
@pytest.mark.parametrize('profile', ['', 'ros1', 'ros2', 'somebody', 'x'])
def test_a_file_of_any_profile_is_read(ros2_channels, frames, tmp_path, profile, summary):
    path = write_mcap(
        tmp_path / 'x.mcap', *ros2_channels(), profile=profile, library='', summary=summary
    )
    assert_same(BagFrames(path), frames)


def test_a_cut_off_file_of_another_profile_is_read_as_far_as_it_goes(
    ros2_channels, frames, tmp_path
):
    path = write_mcap(tmp_path / 'x.mcap', *ros2_channels(), profile='')
    path.write_bytes(path.read_bytes()[:-700])
    bag = BagFrames(path)
    assert_same(bag, frames)
    assert any('cut off' in note for note in bag.notes)


@pytest.mark.parametrize('blank', [b'', b' \n'])
def test_types_without_definition_are_read_by_ros_2s(ros2_channels, frames, tmp_path, blank):
    channels, messages = ros2_channels(defined=False)
    channels = [channel._replace(definition=blank) for channel in channels]
    assert_same(BagFrames(write_mcap(tmp_path / 'all.mcap', channels, messages)), frames)
    defined, _ = ros2_channels()
    mixed = [*channels[:1], *defined[1:]]
    assert_same(BagFrames(write_mcap(tmp_path / 'some.mcap', mixed, messages)), frames)
    bare = [channel._replace(schema_encoding='') for channel in channels]
    assert_same(BagFrames(write_mcap(tmp_path / 'bare.mcap', bare, messages)), frames)


def test_a_damaged_definition_costs_no_other_topic(ros2_channels, frames, tmp_path):
    channels, messages = ros2_channels()
    odd = Channel('/odd', 'my_msgs/msg/Odd', 'ros2msg', b'uint8[ x')
    path = write_mcap(
        tmp_path / 'x.mcap', [odd, *channels], [(c + 1, t, data) for c, t, data in messages]
    )
    bag = BagFrames(path)
    assert_same(bag, frames)
    assert any('/odd: the definition of my_msgs/msg/Odd' in note for note in bag.notes)


@pytest.mark.parametrize('profile', ['ros1', ''])
def test_messages_of_ros_1_in_an_mcap_file_are_read(ros2_channels, frames, tmp_path, profile):
    channels, messages = ros2_channels(encoding='ros1', name='sensor_msgs/')
    odd = Channel('/odd', 'my_msgs/Odd', 'ros1msg', b'uint8 x', 'ros1')
    bag = BagFrames(write_mcap(tmp_path / 'x.mcap', [*channels, odd], messages, profile=profile))
    assert_same(bag, frames)
    assert any('/odd (ros1 my_msgs/Odd)' in note for note in bag.notes)


def test_of_an_images_transports_the_best_is_taken(make, frames, write_bag):
    """JPEG of colour and of infrared, exact copies in zstd, and depth in two ways."""
    rgb, depth = frames[0].rgb, np.nan_to_num(frames[0].depth_m * 1000).round().astype(np.uint16)
    head = struct.pack('<IIBII', *rgb.shape[:2], 0, rgb[0].nbytes, 4) + b'rgb8'
    messages = [
        ('/c/compressed', encoded(rgb, 'jpeg'), 'rgb8; jpeg compressed bgr8'),
        ('/c/zstd', head + zstd_library().compress(rgb.tobytes()), 'zstd'),
        ('/ir/compressed', encoded(rgb[..., 0], 'jpeg'), 'mono8; jpeg compressed '),
        ('/d/compressed', encoded(depth, 'png'), '16UC1; png compressed '),
        ('/d/compressedDepth', bytes(12) + encoded(depth, 'png'), '16UC1; compressedDepth png'),
    ]
    bag = BagFrames(
        write_bag([(t, START_NS, make.compressed(data, f, START_NS)) for t, data, f in messages])
    )
    assert (bag.topics.image, bag.topics.depth) == ('/c/zstd', '/d/compressedDepth')
    assert_same(bag, frames, 1)


def test_a_file_without_index_may_be_out_of_order(ros2_channels, frames, tmp_path):
    channels, messages = ros2_channels()
    messages[-2:] = messages[-1:-3:-1]
    messages[1], messages[3] = messages[3], messages[1]
    bag = BagFrames(write_mcap(tmp_path / 'x.mcap', channels, messages, summary=False))
    assert_same(bag, frames)
    assert not any('damaged' in note for note in bag.notes)


def as_protobuf(numbers, fields):
    """A message of scalar fields: texts, bytes, 32-bit words and lists of doubles."""
    made = b''
    for name, number in numbers.items():
        value = fields[name]
        if isinstance(value, int):
            made += bytes([number << 3 | 5]) + struct.pack('<I', value)
            continue
        if isinstance(value, tuple):
            value = bytes([8, *_varint(value[0]), 16, *_varint(value[1])])
        elif isinstance(value, list):
            value = struct.pack(f'<{len(value)}d', *value)
        elif isinstance(value, str):
            value = value.encode()
        made += bytes([number << 3 | 2, *_varint(len(value))]) + value
    return made


def _varint(value):
    made = []
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return [*made, value]


RAW_IMAGE = {
    'timestamp': 1, 'width': 2, 'height': 3, 'encoding': 4, 'step': 5, 'data': 6, 'frame_id': 7,
}  # fmt: skip
CALIBRATION = {
    'timestamp': 1, 'width': 2, 'height': 3, 'distortion_model': 4, 'D': 5, 'K': 6, 'R': 7, 'P': 8,
    'frame_id': 9,
}  # fmt: skip


@pytest.mark.parametrize('encoding', ['json', 'protobuf'])
def test_foxgloves_images_are_read_in_json_and_protobuf(frames, tmp_path, encoding):
    camera = frames[0].intrinsics
    names = ('RawImage', 'RawImage', 'CameraCalibration')
    topics = ('/camera/color/image', '/camera/depth/image', '/camera/color/camera_info')
    schema_encoding = {'json': 'jsonschema'}.get(encoding, encoding)
    channels = [
        Channel(topic, f'foxglove.{name}', schema_encoding, b'\xff', encoding)
        for topic, name in zip(topics, names, strict=True)
    ]
    messages = []
    for index, frame in enumerate(frames):
        shared = {
            'timestamp': (10**9, index * 10**8),
            'frame_id': 'optical',
            'width': camera.width,
            'height': camera.height,
        }
        depth = np.nan_to_num(frame.depth_m * 1000).round().astype('<u2')
        sent = [
            {'encoding': 'rgb8', 'step': 3 * camera.width, 'data': frame.rgb.tobytes()},
            {'encoding': '16UC1', 'step': 2 * camera.width, 'data': depth.tobytes()},
            {
                'distortion_model': 'plumb_bob', 'D': [0.0] * 5,
                'K': camera.matrix().ravel().tolist(), 'R': np.eye(3).ravel().tolist(),
                'P': np.hstack([camera.matrix(), np.zeros((3, 1))]).ravel().tolist(),
            },
        ]  # fmt: skip
        for channel, own in enumerate(sent):
            fields = {**shared, **own}
            if encoding == 'json':
                stamp = dict(zip(('sec', 'nsec'), fields['timestamp'], strict=True))
                fields = {**fields, 'timestamp': stamp}
                if 'data' in fields:
                    fields['data'] = base64.b64encode(fields['data']).decode()
                data = json.dumps(fields).encode()
            else:
                data = as_protobuf((RAW_IMAGE, RAW_IMAGE, CALIBRATION)[channel], fields)
            messages.append((channel, START_NS + index * 10**8, data))
    bag = BagFrames(write_mcap(tmp_path / 'x.mcap', channels, messages, profile=''))
    assert_same(bag, frames)
    assert bag[0].intrinsics == camera
    assert bag.stamps_ns == [START_NS + index * 10**8 for index in range(3)]


def test_foxgloves_images_are_read_in_cdr(frames, tmp_path):
    """On the wire, their timestamp and frame are a header."""
    types = standard_types()
    time = types.types['builtin_interfaces/msg/Time'](10**9, 5)
    header = types.types['std_msgs/msg/Header'](time, 'optical')
    kind, rgb = 'foxglove_msgs/msg/RawImage', frames[0].rgb
    height, width = rgb.shape[:2]
    made = types.types[kind](header, width, height, 'rgb8', 3 * width, rgb.ravel())
    definition = (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint32 width\nuint32 height\n'
        'string encoding\nuint32 step\nuint8[] data\n'
        f'{"=" * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'
    )
    channel = Channel('/image', kind, definition=definition.encode())
    data = bytes(types.serialize_cdr(made, kind))
    bag = BagFrames(write_mcap(tmp_path / 'x.mcap', [channel], [(0, START_NS, data)]))
    assert bag.stamps_ns == [10**18 + 5]
    np.testing.assert_array_equal(bag[0].rgb, rgb)


@pytest.mark.parametrize('encoding', ['json', 'protobuf'])
def test_damaged_foxglove_messages_end_in_an_error_of_ours(tmp_path, encoding):
    channel = Channel('/image', 'foxglove.CompressedImage', '', b'', encoding)
    for data in (b'', b'{', b'[]', b'\xff' * 20, b'\x12\xff\x7f', b'{"data": "?"}'):
        path = write_mcap(tmp_path / 'x.mcap', [channel], [(0, START_NS, data)])
        with pytest.raises(DataError) as refused:
            BagFrames(path).pick([0])
        assert '\n' not in str(refused.value)
