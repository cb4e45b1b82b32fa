"""Small benchmarks on disk, each in its real layout, made of the same three frames."""

from __future__ import annotations

import pytest

from tosa_ros.sources import write_folder


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
