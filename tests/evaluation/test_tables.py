"""Benchmarks in parquet, as the Hugging Face hub has them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tosa_ros.errors import DataError, FrameError
from tosa_ros.evaluation.benchmarks import load_benchmark
from tosa_ros.evaluation.survey import survey
from tosa_ros.evaluation.tables import PictureTable
from tosa_ros.sources.images import png

pyarrow = pytest.importorskip('pyarrow')
VSI = {
    'dataset': 'scannet',
    'scene_name': 's',
    'question_type': 'object_counting',
    'question': 'How many chairs?',
    'options': None,
}


def table(path, rows):
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def vsi(number, truth, pruned):
    return {'id': number, 'ground_truth': truth, 'pruned': pruned, **VSI}


def test_vsibenchs_folder_is_full_and_debiased(tmp_path):
    folder = table(tmp_path / 'vsi' / 'test_debiased.parquet', [vsi(0, '4', False)]).parent
    table(folder / 'test_pruned.parquet', [vsi(1, '2', True), vsi(2, '2', True)])
    benchmark = load_benchmark('vsibench', folder)
    assert [q.id for q in benchmark.questions] == [0, 1, 2]
    assert benchmark.root == folder
    assert benchmark.problems == []
    scores = {s.name: (s.overall, len(s.values)) for s in benchmark.score({0: '4', 1: '1'})}
    assert scores['VSI-Bench (strict)'] == (pytest.approx(100 * (1 + 0.1 + 0) / 3), 3)
    assert scores['VSI-Bench-Debiased (strict)'] == (100, 1)
    pruned = load_benchmark('vsibench', folder / 'test_pruned.parquet')
    assert 'VSI-Bench-Debiased (strict)' not in [s.name for s in pruned.score({})]
    debiased = load_benchmark('vsibench', folder / 'test_debiased.parquet')
    assert 'it is VSI-Bench-Debiased' in debiased.problems[0]


@pytest.mark.parametrize(
    ('truth', 'said', 'worth'),
    [(4, '4', 100), (4.0, '4', 100), (2.5, '2.5', 100), (2.5, '25', 0), ('2.5', '2.5', 100)],
)
def test_truths_may_be_numbers(tmp_path, truth, said, worth):
    rows = tmp_path / 'test.jsonl'
    rows.write_text(json.dumps(vsi(0, truth, False)))
    for path in (rows, table(tmp_path / 'test.parquet', [vsi(0, truth, False)])):
        benchmark = load_benchmark('vsibench', path)
        assert [score.overall for score in benchmark.score({0: said})] == [worth] * 4


@pytest.mark.parametrize('truth', [0, 'many', float('nan'), True])
def test_truths_that_are_no_target(tmp_path, truth):
    with pytest.raises(DataError, match="record 0: field 'ground_truth' is"):
        load_benchmark('vsibench', table(tmp_path / 'test.parquet', [vsi(0, truth, False)]))


def gqa(number, image):
    types = {'structural': 'query', 'semantic': 'rel', 'detailed': 'x'}
    row = {'imageId': image, 'question': 'What?', 'answer': 'cup', 'fullAnswer': 'A cup.'}
    return {'id': str(number), **row, 'isBalanced': True, 'types': types}


def test_gqa_of_the_hub(tmp_path, frames):
    instructions = tmp_path / 'testdev_balanced_instructions'
    images = tmp_path / 'testdev_balanced_images'
    table(instructions / 'testdev-0.parquet', [gqa(1, 'n1'), gqa(2, 'n2')])
    file = table(instructions / 'testdev-1.parquet', [gqa(3, 'gone')])
    pictures = [
        {'id': f'n{n}', 'image': {'bytes': png(frames[n].rgb), 'path': f'n{n}.jpg'}}
        for n in (1, 2)
    ]
    for n, picture in enumerate(pictures):
        table(images / f'testdev-{n}.parquet', [picture])
    benchmark = load_benchmark('gqa', instructions)
    assert [(q.id, q.category) for q in benchmark.questions] == [
        ('1', 'open'),
        ('2', 'open'),
        ('3', 'open'),
    ]
    for n in (2, 1, 2):
        np.testing.assert_array_equal(benchmark.frames(f'n{n}')[0].rgb, frames[n].rgb)
    assert survey(benchmark)['missing'] == {'gone': f'image gone: not in {images}'}
    assert benchmark.score({'1': 'Cup.'})[0].overall == pytest.approx(100 / 3)
    named = load_benchmark('gqa', file, frames_root=images / 'testdev-0.parquet')
    with pytest.raises(FrameError, match='image n2: not in'):
        named.frames('n2')


def test_tables_that_are_not_there_or_of_another_kind(tmp_path):
    table(tmp_path / 'GQA' / 'testdev_balanced_instructions' / 'a.parquet', [gqa(1, 'n1')])
    with pytest.raises(DataError, match=r'holds no \.parquet files; name one of .*_instructions'):
        load_benchmark('gqa', tmp_path / 'GQA')
    with pytest.raises(DataError, match='no such file'):
        load_benchmark('gqa', tmp_path / 'gone.parquet')
    with pytest.raises(DataError, match='1 ids appear twice'):
        load_benchmark('gqa', table(tmp_path / 'twice.parquet', [gqa(1, 'a'), gqa(1, 'b')]))
    with pytest.raises(DataError, match='no columns id and image'):
        PictureTable(table(tmp_path / 'other.parquet', [{'id': 'a'}]))
    (tmp_path / 'noise.parquet').write_bytes(b'PAR1')
    with pytest.raises(DataError, match='cannot be read as parquet'):
        load_benchmark('vsibench', tmp_path / 'noise.parquet')
