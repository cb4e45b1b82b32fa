"""Readers on small files in each benchmark's real layout, and on the real OpenEQA file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.evaluation.benchmarks import BENCHMARKS, load_benchmark
from tosa_ros.evaluation.survey import survey
from tosa_ros.sources import VideoFrames

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'openeqa' / 'open-eqa-v0.json'


def write_image(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame.rgb).save(path)


@pytest.mark.skipif(not REAL.is_file(), reason='the real OpenEQA question file is not here')
def test_the_real_openeqa_file():
    found = survey(load_benchmark('openeqa', REAL))
    assert (found['questions'], found['episodes']) == (1636, 152)
    assert found['categories'] == {
        'object localization': 263,
        'object state recognition': 252,
        'attribute recognition': 240,
        'object recognition': 231,
        'spatial understanding': 220,
        'functional reasoning': 217,
        'world knowledge': 213,
    }
    assert len(found['missing']) == 152
    assert found['unanswerable'] == 1636


def test_openeqa_reads_frames_lazily_in_metres(openeqa, frames):
    benchmark = load_benchmark('openeqa', openeqa)
    samples = list(benchmark)
    assert [s.id for s in samples] == ['id-0', 'id-2', 'id-1', 'id-3']  # episode by episode
    assert samples[0].answers == ('a chair', 'chair', 'seat', 'stool', 'armchair')
    for sample in samples:
        assert len(sample.frames) == 3
        np.testing.assert_array_equal(sample.frames[1].rgb, frames[1].rgb)
        np.testing.assert_allclose(sample.frames[1].depth_m, frames[1].depth_m, atol=1e-3)
        assert sample.frames[1].intrinsics == frames[1].intrinsics
    np.testing.assert_allclose(samples[0].frames[1].pose, frames[1].pose)


def test_hm3d_has_square_pixels_and_optical_poses(openeqa, frames):
    folder = openeqa.parent / 'frames' / 'hm3d-v0' / '000-hm3d-BFRyYbPCCPE'
    wrong = np.eye(4)
    wrong[:2, :3] = [[40.0, 0, 15.5], [0, 47.6, 11.5]]
    np.savetxt(folder / 'intrinsic_color.txt', wrong)
    frame = load_benchmark('openeqa', openeqa).frames('hm3d-v0/000-hm3d-BFRyYbPCCPE')[1]
    assert (frame.intrinsics.fx, frame.intrinsics.fy) == (40.0, 40.0)
    np.testing.assert_allclose(frame.pose[:3, 2], -frames[1].pose[:3, 2])
    np.testing.assert_allclose(frame.pose[:3, 3], frames[1].pose[:3, 3])


def test_openeqa_samples_by_rounding(openeqa):
    benchmark = load_benchmark('openeqa', openeqa)
    assert benchmark.sampled(10, 4) == [0, 3, 6, 9]
    assert benchmark.sampled(6, 4) == [0, 2, 3, 5]
    assert benchmark.sampled(3, 12) == [0, 1, 2]
    assert benchmark.sampled(5, 1) == [0]


def test_duplicates_and_unknown_episodes_are_named_and_the_rest_is_used(
    openeqa, write_json, openeqa_record
):
    records = json.loads(openeqa.read_text())
    records += [records[1], openeqa_record(9, 'scannet-v0/nowhere')]
    found = survey(load_benchmark('openeqa', write_json('open-eqa.json', records)))
    assert (found['questions'], found['unanswerable']) == (5, 1)
    assert list(found['missing']) == ['scannet-v0/nowhere']
    assert 'scannet-v0/nowhere' in found['missing']['scannet-v0/nowhere']
    assert found['problems'] == [
        "1 questions are there twice, word for word: 'id-1'; each is asked once"
    ]


def test_a_name_that_an_object_has_twice_is_refused(tmp_path):
    path = tmp_path / 'testdev_balanced_questions.json'
    path.write_text('{"1": {"question": "a"}, "1": {"question": "b"}}')
    with pytest.raises(DataError, match=r"questions\.json: one object has '1' twice"):
        load_benchmark('gqa', path)


def test_frames_without_depth_are_counted(openeqa):
    episode = 'scannet-v0/002-scannet-scene0709_00'
    (openeqa.parent / 'frames' / episode / '00001-depth.png').unlink()
    assert survey(load_benchmark('openeqa', openeqa))['without_depth'] == {episode: 1}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'answer': None}, r"record 1: field 'answer' is null; wanted text"),
        ({'question': ' '}, r"record 1: field 'question' is empty"),
        ({'question_id': 7}, r"record 1: field 'question_id' is 7; wanted text"),
        ({'extra_answers': ['x', 1]}, r"record 1: field 'extra_answers'"),
        ({'episode_history': '../../etc'}, r"record 1: field 'episode_history'.*leaves"),
    ],
)
def test_a_malformed_record_names_its_index_and_field(write_json, openeqa_record, change, message):
    path = write_json('q.json', [openeqa_record(0), {**openeqa_record(1), **change}])
    with pytest.raises(DataError, match=message):
        load_benchmark('openeqa', path)


def test_files_that_are_not_a_benchmark(write_json, openeqa_record, tmp_path):
    del (record := openeqa_record(0))['category']
    with pytest.raises(DataError, match="record 0: field 'category' is missing"):
        load_benchmark('openeqa', write_json('a.json', [record]))
    with pytest.raises(DataError, match='no such file'):
        load_benchmark('openeqa', tmp_path / 'none.json')
    with pytest.raises(DataError, match='wanted a list of questions'):
        load_benchmark('openeqa', write_json('b.json', {}))
    (tmp_path / 'c.json').write_text('[{"question": ')
    with pytest.raises(DataError, match=r'not JSON.*line 1'):
        load_benchmark('openeqa', tmp_path / 'c.json')
    with pytest.raises(DataError, match='wanted one of openeqa, vsibench'):
        load_benchmark('openqea', tmp_path / 'c.json')
    with pytest.raises(DataError, match="gqa has no option 'depth_scale'"):
        load_benchmark('gqa', tmp_path / 'c.json', depth_scale=1.0)


def write_video(path, pictures):
    av = pytest.importorskip('av')
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(
            'libx264', rate=5, options={'crf': '0', 'preset': 'ultrafast'}
        )
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv444p'
        for value in pictures:
            picture = np.full((48, 64, 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(stream.encode())


VALUES = [10 * i for i in range(1, 21)]


@pytest.fixture
def vsibench(tmp_path):
    write_video(tmp_path / 'arkitscenes' / '41069025.mp4', VALUES)
    common = {'dataset': 'arkitscenes', 'scene_name': '41069025', 'pruned': False}
    records = [
        {
            'id': 0,
            'question_type': 'object_rel_distance',
            'question': 'Which is nearest?',
            'options': ['A. tv', 'B. door'],
            'ground_truth': 'B',
            **common,
        },
        {
            'id': 1,
            'question_type': 'object_counting',
            'question': 'How many chairs?',
            'options': None,
            'ground_truth': '4',
            **common,
        },
    ]
    path = tmp_path / 'test.jsonl'
    path.write_text('\n'.join(map(json.dumps, records)) + '\n')
    return path


def test_vsibench(vsibench):
    benchmark = load_benchmark('vsibench', vsibench)
    choice, number = benchmark.questions
    assert benchmark.prompt(choice) == (
        'These are frames of a video.\nWhich is nearest?\nOptions:\nA. tv\nB. door\n'
        "Answer with the option's letter from the given choices directly."
    )
    assert benchmark.prompt(number) == (
        'These are frames of a video.\nHow many chairs?\n'
        'Please answer the question using a single word or phrase.'
    )
    assert benchmark.sampled(20, 4) == [0, 6, 12, 19]  # truncated, as its harness does
    scores = {s.name: s.overall for s in benchmark.score({0: 'It is B.', 1: '4'})}
    assert scores == {
        'VSI-Bench (strict)': 50.0,
        'VSI-Bench-Debiased (strict)': 50.0,
        'VSI-Bench (lenient)': 100.0,
        'VSI-Bench (lmms-eval)': 50.0,
    }
    assert 'none of its questions is pruned' in benchmark.problems[0]
    assert benchmark.score({})[0].overall == 0


def test_video_frames_are_decoded_by_index(vsibench):
    frames = VideoFrames(vsibench.parent / 'arkitscenes' / '41069025.mp4')
    assert len(frames) == 20
    means = [frame.rgb.mean() for frame in frames.pick([19, 0, 7])]
    np.testing.assert_allclose(means, [VALUES[19], VALUES[0], VALUES[7]], atol=2)
    assert frames[-1].rgb.mean() == pytest.approx(VALUES[-1], abs=2)
    assert frames[5].stamp == pytest.approx(1.0)


def test_a_truncated_video_is_named(vsibench):
    video = vsibench.parent / 'arkitscenes' / '41069025.mp4'
    video.write_bytes(video.read_bytes()[:500])
    found = survey(load_benchmark('vsibench', vsibench))
    assert '41069025.mp4: cannot be read as a video' in found['missing']['arkitscenes/41069025']
    video.unlink()
    assert survey(load_benchmark('vsibench', vsibench))['unanswerable'] == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'question_type': 'route'}, "record 0: field 'question_type' is 'route'; wanted one of"),
        ({'ground_truth': 'many', 'question_type': 'object_counting'}, 'wanted a number, not 0'),
        ({'options': None}, "record 0: field 'options' is null"),
    ],
)
def test_vsibench_malformed(vsibench, change, message):
    first = json.loads(vsibench.read_text().splitlines()[0])
    vsibench.write_text(json.dumps({**first, **change}))
    with pytest.raises(DataError, match=message):
        load_benchmark('vsibench', vsibench)


def test_vsibench_parquet(vsibench):
    path = vsibench.with_suffix('.parquet')
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        path.write_bytes(b'PAR1')
        with pytest.raises(MissingDependencyError, match='pyarrow'):
            load_benchmark('vsibench', path)
        return
    rows = [json.loads(line) for line in vsibench.read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    wanted = load_benchmark('vsibench', vsibench).questions
    assert load_benchmark('vsibench', path).questions == wanted
    path.write_bytes(b'PAR1')
    with pytest.raises(DataError, match='cannot be read as parquet'):
        load_benchmark('vsibench', path)


def test_sqa3d(write_json, frames, tmp_path):
    ids = [220602000000, 220602000001, 220602000002]
    data = write_json(
        'v1_balanced_questions_test_scannetv2.json',
        {
            'questions': [
                {
                    'scene_id': 'scene0380_00',
                    'situation': 'I am facing a window.',
                    'alternative_situation': ['a', 'b'],
                    'question': question,
                    'question_id': i,
                }
                for i, question in zip(ids, ['What colour?', 'Is it on?', 'Am I?'], strict=True)
            ]
        },
    )
    write_json(
        'v1_balanced_sqa_annotations_test_scannetv2.json',
        {
            'annotations': [
                {
                    'question_id': i,
                    'answers': [{'answer': answer, 'answer_id': 1}],
                    'position': {'x': 1.0, 'y': 0.0, 'z': 0.0},
                    'rotation': {'_x': 0, '_y': 0, '_z': 0, '_w': 1},
                }
                for i, answer in zip(ids, ['brown', 'yes'], strict=False)
            ]
        },
    )
    write_image(tmp_path / 'scene0380_00' / '0-rgb.png', frames[0])
    benchmark = load_benchmark('sqa3d', data)
    assert [q.category for q in benchmark.questions] == ['what', 'is']
    assert benchmark.problems[0].endswith(
        f'record 2: question {ids[2]} has no annotation; it is not asked'
    )
    assert benchmark.prompt(benchmark.questions[0], '{question}') == (
        'I am facing a window. What colour?'
    )
    strict, refined = benchmark.score({ids[0]: 'The brown one.', ids[1]: 'Yes'})
    assert (strict.overall, refined.overall) == (50.0, 100.0)
    assert benchmark.submission({ids[0]: 'red'})[0]['agent_pos'] == {'x': 1.0, 'y': 0.0, 'z': 0.0}
    assert survey(benchmark)['missing'] == {}


def test_scanqa(write_json, monkeypatch):
    records = [
        {
            'scene_id': 'scene0000_00',
            'object_ids': [8],
            'object_names': ['cabinet'],
            'question_id': f'val-scene0000-{i}',
            'question': question,
            'answers': ['brown', 'dark brown'],
        }
        for i, question in enumerate(['What color is it?', 'What type is it?'])
    ]
    benchmark = load_benchmark('scanqa', write_json('ScanQA_v1.0_val.json', records))
    assert [q.category for q in benchmark.questions] == ['Color', 'Object nature']
    monkeypatch.setenv('PATH', '/nonexistent')  # METEOR's Java is slow to start
    scores = benchmark.score({'val-scene0000-0': 'brown', 'val-scene0000-1': 'Brown'})
    assert [(s.name, s.overall) for s in scores] == [('ScanQA EM@1 (raw)', 50.0)]
    assert 'METEOR' in benchmark.problems[0]
    assert benchmark.submission({'val-scene0000-0': 'brown'}) == [
        {
            'scene_id': 'scene0000_00',
            'question_id': 'val-scene0000-0',
            'answer_top10': ['brown'],
            'bbox': [],
        }
    ]


def test_gqa(write_json, frames, tmp_path):
    def record(kind, answer, image='n1'):
        types = {'structural': kind, 'semantic': 'rel'}
        return {'question': 'Which?', 'imageId': image, 'answer': answer, 'types': types}

    data = write_json(
        'testdev_balanced_questions.json',
        {
            '1': record('query', 'cat'),
            '2': record('verify', 'yes'),
            '3': record('query', 'x', 'n2'),
        },
    )
    write_image(tmp_path / 'images' / 'n1.jpg', frames[0])
    benchmark = load_benchmark('gqa', data)
    score, lmms = benchmark.score({'1': 'Cat.', '2': 'no'})
    assert (score.name, lmms.name) == ('GQA accuracy (exact match)', 'GQA accuracy (lmms-eval)')
    assert score.by_category == {'open': 50.0, 'binary': 0.0}
    assert score.overall == pytest.approx(100 / 3)
    assert benchmark.frames('n1')[0].rgb.shape == frames[0].rgb.shape
    assert 'n2.jpg' in survey(benchmark)['missing']['n2']
    assert benchmark.submission({'1': 'Cat.'}) == [{'questionId': '1', 'prediction': 'cat'}]


@pytest.fixture
def vqav2(write_json, frames, tmp_path):
    questions = [('How many cups?', 1), ('Is it red?', 2)]
    data = write_json(
        'v2_OpenEnded_mscoco_val2014_questions.json',
        {
            'data_subtype': 'val2014',
            'questions': [
                {'image_id': 42, 'question': text, 'question_id': i} for text, i in questions
            ],
        },
    )
    answers = {1: ['2'] * 6 + ['3'] * 4, 2: ['yes'] * 10}
    write_json(
        'v2_mscoco_val2014_annotations.json',
        {
            'annotations': [
                {
                    'question_id': i,
                    'answer_type': kind,
                    'answers': [{'answer': a, 'answer_id': n} for n, a in enumerate(answers[i])],
                }
                for i, kind in ((1, 'number'), (2, 'yes/no'))
            ]
        },
    )
    write_image(tmp_path / 'val2014' / 'COCO_val2014_000000000042.jpg', frames[0])
    return data


def test_vqav2(vqav2):
    benchmark = load_benchmark('vqav2', vqav2)
    score, lmms = benchmark.score({1: 'Three', 2: 'yes'})
    assert (score.name, lmms.name) == ('VQA accuracy', 'VQA accuracy (lmms-eval)')
    assert score.by_category == pytest.approx({'number': 100.0, 'yes/no': 100.0})
    assert benchmark.submission({2: 'yes'}) == [{'question_id': 2, 'answer': 'yes'}]
    assert len(benchmark.frames('42')) == 1


def test_vqav2_counting_subset(vqav2):
    benchmark = load_benchmark('vqav2-counting', vqav2)
    assert [q.id for q in benchmark.questions] == [1]
    exact, accuracy, _ = benchmark.score({1: 'two'})
    assert (exact.overall, accuracy.overall) == (100.0, 100.0)
    exact, accuracy, _ = benchmark.score({1: '3'})  # what four of ten say is right for VQA alone
    assert (exact.overall, accuracy.overall) == (0.0, 100.0)


def test_every_benchmark_counts_missing_predictions_as_wrong(openeqa, vsibench, vqav2):
    for name, path in (('openeqa', openeqa), ('vsibench', vsibench), ('vqav2', vqav2)):
        benchmark = load_benchmark(name, path)
        assert len(benchmark.score({})[0].values) == len(benchmark.questions)
        assert benchmark.score({})[0].overall == 0
        assert benchmark.submission({}) == []
    assert set(BENCHMARKS) >= {'openeqa', 'vsibench', 'sqa3d', 'scanqa', 'gqa', 'vqav2', 'jsonl'}
