"""Small inputs of every command: photos, frames with depth, a bag, question files, a model."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources import write_folder

SIZE = (48, 64, 3)


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    pytest.importorskip('transformers')
    from tosa_ros.vlm.untrained import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp('cli') / 'model', seed=1)


@pytest.fixture
def ask(model, capfd):
    """Asks with --json and returns what is printed; or the error's line."""
    from tosa_ros.cli.main import main

    def run(*words, command='ask', model=model):
        code = main([command, *map(str, words), '--model', str(model), '--json'])
        captured = capfd.readouterr()
        if code:
            assert code == 2
            return captured.err.strip().splitlines()[-1]
        return json.loads(captured.out)

    return run


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """Five photos in `album`, each of one grey, and `walk.mp4`, fifty frames at 10 a second."""
    place = tmp_path_factory.mktemp('photos')
    (place / 'album').mkdir()
    for i in range(5):
        Image.fromarray(np.full(SIZE, 40 * i, np.uint8)).save(place / 'album' / f'{i}.jpg')
    av = pytest.importorskip('av')
    with av.open(str(place / 'walk.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.full(SIZE, 5 * i, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return place


@pytest.fixture(scope='session')
def rgbd(tmp_path_factory):
    """A folder of four frames with depth, intrinsics and poses."""
    rng = np.random.default_rng(0)
    camera = Intrinsics(60, 60, 31.5, 23.5, 64, 48)
    frames = []
    for i in range(4):
        depth = rng.uniform(1, 3, SIZE[:2]).round(3).astype(np.float32)
        rgb = rng.integers(0, 255, SIZE, np.uint8)
        frames.append(Frame(rgb, depth_m=depth, intrinsics=camera, pose=np.eye(4), stamp=float(i)))
    return write_folder(tmp_path_factory.mktemp('rgbd') / 'kitchen', frames).path


@pytest.fixture(scope='session')
def bag(rgbd, tmp_path_factory):
    """The frames of `rgbd` as a bag, whose depth is 30 ms late."""
    pytest.importorskip('rosbags')
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    from tosa_ros.sources import read_folder
    from tosa_ros.sources.bags import folder_to_bag

    path, store = tmp_path_factory.mktemp('bags'), get_typestore(Stores.ROS2_HUMBLE)
    folder_to_bag(read_folder(rgbd), path / 'exact')
    late = path / 'kitchen'
    with (
        Reader(path / 'exact') as reader,
        Writer(late, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        topics = {
            c.topic: writer.add_connection(c.topic, c.msgtype, typestore=store)
            for c in reader.connections
        }
        for c, received, data in reader.messages():
            if 'depth' in c.topic:
                message = store.deserialize_cdr(data, c.msgtype)
                message.header.stamp.nanosec += 30_000_000
                data = store.serialize_cdr(message, c.msgtype)
            writer.write(topics[c.topic], received, data)
    return late


@pytest.fixture(scope='session')
def questions(tmp_path_factory, rgbd):
    """Question files of every benchmark, two questions each, and `q.json` about the bag."""
    place = tmp_path_factory.mktemp('questions')
    scenes = [('scene0', 'scene1'), ('How many cups?', 'How many chairs?'), ('chair', '2')]
    base = [
        {'question_id': i, 'question': text, 'answer': answer, 'scene_id': scene, 'image_id': i}
        for i, (scene, text, answer) in enumerate(zip(*scenes, strict=True))
    ]
    texts = [{**one, 'question_id': str(one['question_id'])} for one in base]
    ten = [{'answer': 'chair'}] * 10
    answers = [{'question_id': i, 'answers': ten, 'answer_type': 'other'} for i in (0, 1)]
    openeqa = [{**r, 'category': 'c', 'episode_history': r['scene_id']} for r in texts]
    vsi = [
        {
            'id': i,
            'dataset': 'd',
            'scene_name': r['scene_id'],
            'question': r['question'],
            'question_type': 'object_counting',
            'ground_truth': '2',
        }
        for i, r in enumerate(texts)
    ]
    gqa = {
        str(i): {**r, 'imageId': str(i), 'types': {'structural': 'query'}}
        for i, r in enumerate(texts)
    }
    situated = {'questions': [{**r, 'situation': 'I stand.'} for r in base]}
    own = [{'episode': str(rgbd), 'question': f'{n}?', 'answer': 'a'} for n in range(2)]
    files = {
        'openeqa': openeqa,
        'vsibench': vsi,
        'sqa3d': situated,
        'scanqa': [{**r, 'answers': [r['answer']]} for r in texts],
        'gqa': gqa,
        'vqav2': {'questions': base, 'data_subtype': 'val2014'},
        'vqav2-counting': {'questions': base, 'data_subtype': 'val2014'},
        'jsonl': own,
        'annotations': {'annotations': answers},
        'fewer': {'annotations': answers[1:]},
        'q': [{'question': 'What?', 'answer': 'a cup', 'time': 1}, {'question': 'And?'}],
        'r': [{'question': 'Where?'}],
        'said': {'0': '2', '1': 'chair'},
        'other': {'0': 'a', '1': '3'},
        'tiny': {f'test-0-{n}': 'red' for n in range(3)},
    }
    for name, value in files.items():
        (place / f'{name}.json').write_text(json.dumps(value))
    return place


@pytest.fixture(scope='session')
def run(questions, model, tmp_path_factory):
    """The folder of a finished run with two methods."""
    pytest.importorskip('matplotlib')
    from tosa_ros.evaluation.asking import Asking
    from tosa_ros.evaluation.benchmarks import load_benchmark
    from tosa_ros.evaluation.results import score_run
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.evaluation.runner import evaluate
    from tosa_ros.merging import NoMerging, ToMe
    from tosa_ros.pipeline import VqaPipeline

    path = tmp_path_factory.mktemp('runs') / 'run'
    benchmark = load_benchmark('jsonl', questions / 'jsonl.json')
    methods = {'none': NoMerging(), 'tome': ToMe(keep=0.5)}
    with RunFolder(path, {}) as folder:
        pipeline = VqaPipeline.from_pretrained(model)
        outcome = evaluate(benchmark, pipeline, methods, folder, Asking(2, max_new_tokens=2))
    score_run(benchmark, outcome, path, {})
    return path


@pytest.fixture(scope='session')
def shards(model, tmp_path_factory):
    """The folder of a run that was made in two shards."""
    pytest.importorskip('open3d')
    pytest.importorskip('matplotlib')
    path = tmp_path_factory.mktemp('sharded') / 'run'
    words = ['eval', 'tinyworld', '--limit', '40', '--max-new-tokens', '2', '--method', 'tosa']
    words += ['--model', str(model), '--out', str(path), '--shard']
    # In a process of its own: some tests stand in for what runs long here.
    code = f"""from tosa_ros.cli.main import main
raise SystemExit(any(main([*{words!r}, shard]) for shard in ('1/2', '2/2')))"""
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
    return path
