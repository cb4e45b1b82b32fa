"""Small benchmarks on disk, each in its real layout, made of the same three frames."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from tosa_ros.frame_folder import write_folder
from tosa_ros.frames import Frame, Intrinsics

HEIGHT, WIDTH = 24, 32


@pytest.fixture(scope='session')
def frames():
    """Three frames with everything a frame can have; depth in whole millimetres."""
    rng = np.random.default_rng(0)
    camera = Intrinsics(40.0, 40.0, 15.5, 11.5, WIDTH, HEIGHT)
    made = []
    for i in range(3):
        depth = rng.integers(500, 4000, (HEIGHT, WIDTH)).astype(np.float32) / 1000
        depth[:2] = np.nan
        pose = np.eye(4)
        pose[:3, 3] = i, 0, 0.5
        rgb = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        made.append(Frame(rgb, depth_m=depth, intrinsics=camera, pose=pose, stamp=10.0 + i))
    return made


@pytest.fixture
def write_json(tmp_path):
    """Writes a value under tmp_path and returns its path."""

    def write(name, value):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write


def openeqa_record(number, episode='scannet-v0/002-scannet-scene0709_00', **fields):
    """A record of an OpenEQA file."""
    return {
        'question': f'What is thing {number}?',
        'answer': 'a chair',
        'category': 'object recognition' if number % 2 else 'world knowledge',
        'question_id': f'id-{number}',
        'episode_history': episode,
        **fields,
    }


@pytest.fixture(name='openeqa_record')
def _openeqa_record():
    return openeqa_record


@pytest.fixture
def openeqa(write_json, frames, tmp_path):
    """Path of an OpenEQA file with four questions about two episodes that are on disk."""
    episodes = ['scannet-v0/002-scannet-scene0709_00', 'hm3d-v0/000-hm3d-BFRyYbPCCPE']
    for episode in episodes:
        scale = 6553.5 if episode.startswith('hm3d') else 1000
        write_folder(tmp_path / 'frames' / episode, frames, depth_scale=scale)
    records = [openeqa_record(i, episodes[i % 2]) for i in range(4)]
    records[0]['extra_answers'] = ['chair', 'seat', 'stool', 'armchair']
    return write_json('open-eqa.json', records)


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """A LLaVA-OneVision checkpoint with random weights."""
    pytest.importorskip('transformers')
    from tosa_ros.vlm.untrained import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture(scope='session')
def pipeline(checkpoint):
    from tosa_ros.pipeline import VqaPipeline

    return VqaPipeline.from_pretrained(checkpoint)


@pytest.fixture
def command():
    """Runs a command's module as `tosa` does, and returns its exit code."""

    def run(module, *args):
        parser = argparse.ArgumentParser()
        module.add_parser(parser.add_subparsers(dest='command'))
        parsed = parser.parse_args([str(arg) for arg in args])
        return parsed.run(parsed)

    return run
