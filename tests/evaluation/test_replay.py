"""Questions about a bag, offline: which images they see, and the same answers as by folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tosa_ros.cli.parsing import UsageError
from tosa_ros.errors import DataError
from tosa_ros.evaluation.replay import BagQuestions
from tosa_ros.sources import read_folder, write_folder
from tosa_ros.sources.bags import BagFrames, folder_to_bag

pytest.importorskip('rosbags')


@pytest.fixture
def bag_path(frames, tmp_path):
    """Three images, one a second, from 1,000,000,000 s on."""
    folder = write_folder(tmp_path / 'episode', frames)
    folder_to_bag(folder, tmp_path / 'bags' / 'kitchen')
    return tmp_path / 'bags' / 'kitchen'


def asked(write_json, bag_path, *records):
    return BagQuestions.load(write_json('q.json', list(records)), BagFrames(bag_path))


def test_a_timed_question_sees_the_frames_up_to_its_time(write_json, bag_path, frames):
    times = [None, 0, 1.2, 2, 1_000_000_001.0]
    records = [{'question': f'Q{i}?', 'time': t} for i, t in enumerate(times)]
    benchmark = asked(write_json, bag_path, *records)
    counts = [len(benchmark.frames(q.episode)) for q in benchmark.questions]
    assert counts == [3, 1, 2, 3, 2]
    seen = benchmark.frames(benchmark.questions[2].episode)
    np.testing.assert_array_equal(seen.pick([1])[0].rgb, frames[1].rgb)
    with pytest.raises(IndexError):
        seen[2]
    asked_at = [benchmark.asked_at(q) for q in benchmark.questions]
    assert asked_at[0] is None
    assert asked_at[1:] == pytest.approx([1e9, 1e9 + 1.2, 1e9 + 2, 1e9 + 1], abs=1e-5)


@pytest.mark.parametrize('time_s', [-1, 9, 5e8, 2e9])
def test_a_time_outside_of_the_bag_is_named(write_json, bag_path, time_s):
    benchmark = asked(write_json, bag_path, {'question': 'Q?', 'time': time_s})
    with pytest.raises(
        DataError, match=r'outside of kitchen, whose images are of 1000000000\.000'
    ):
        benchmark.frames(benchmark.questions[0].episode)


def test_dates_do_not_fit_relative_stamps(write_json, frames, tmp_path):
    folder = write_folder(tmp_path / 'episode', frames)
    (folder.path / 'stamps.txt').write_text('00000 0.5\n00001 1.5\n00002 2.5\n')
    folder_to_bag(read_folder(folder.path), tmp_path / 'relative')
    benchmark = asked(
        write_json,
        tmp_path / 'relative',
        {'question': 'Q?', 'time': 1.7e9},
        {'question': 'R?', 'time': 1},
    )
    with pytest.raises(DataError, match=r'count from a start \(0\.500 to 2\.500 s\)'):
        benchmark.frames(benchmark.questions[0].episode)
    assert len(benchmark.frames(benchmark.questions[1].episode)) == 2


def test_duplicates_and_questions_about_others_are_named(write_json, bag_path, openeqa_record):
    benchmark = asked(
        write_json,
        bag_path,
        openeqa_record(1, 'robot/kitchen'),
        openeqa_record(2, 'robot/kitchen'),
        openeqa_record(2, 'robot/kitchen'),
        openeqa_record(3, 'robot/hall'),
        openeqa_record(4, 'robot/hall'),
    )
    assert [q.id for q in benchmark.questions] == ['id-1', 'id-2']
    elsewhere, twice = benchmark.problems
    assert elsewhere.endswith('2 questions are about robot/hall, not kitchen: not asked')
    assert 'id-2' in twice
    with pytest.raises(DataError, match='none of its 2 questions is about kitchen'):
        asked(write_json, bag_path, openeqa_record(1, 'a/hall'), openeqa_record(2, 'a/attic'))


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({'answer': 'a'}, "record 0: field 'question' is missing"),
        ({'question': 'Q', 'time': 'noon'}, 'record 0: field \'time\' is "noon"'),
        ({'question': 'Q', 'answers': []}, "record 0: field 'answers'"),
    ],
)
def test_malformed_questions(write_json, bag_path, record, message):
    with pytest.raises(DataError, match=message):
        asked(write_json, bag_path, record)


def test_questions_about_a_bag_may_have_options(write_json, bag_path):
    benchmark = asked(
        write_json, bag_path, {'question': 'Which?', 'options': ['mug', 'cup'], 'answer': 'cup'}
    )
    (question,) = benchmark.questions
    assert benchmark.prompt(question).startswith('Which?\nA. mug\nB. cup\n')
    (score,) = benchmark.score({0: '(B)'})
    assert (score.name, score.overall) == ('Choice accuracy (letter or text)', 100)


def test_unanswered_questions_are_asked_and_not_scored(write_json, bag_path):
    benchmark = asked(
        write_json, bag_path, {'question': 'Q?'}, {'question': 'R?', 'answer': 'cup', 'id': 'r'}
    )
    assert [q.id for q in benchmark.scored] == ['r']
    assert benchmark.score({0: 'x', 'r': 'a cup'})[0].values == {'r': 100.0}
    assert asked(write_json, bag_path, {'question': 'Q?'}).score({0: 'x'}) == []


def test_folder_bag_and_replay_give_the_same_answers(
    write_json, openeqa_record, frames, bag_path, checkpoint, command, tmp_path
):
    records = [openeqa_record(n, 'robot/kitchen') for n in range(4)]
    data = write_json('questions.json', records)
    write_folder(tmp_path / 'frames' / 'robot' / 'kitchen', frames)
    (tmp_path / 'bags' / 'robot').mkdir()
    bag_path.rename(tmp_path / 'bags' / 'robot' / 'kitchen')
    common = ('--model', checkpoint, '--max-new-tokens', 4, '--prompt', '{question}')
    common += ('--method', 'none', '--method', 'tosa')
    openeqa = ('eval', 'openeqa', '--data', data)
    for name in ('frames', 'bags'):
        where = ('--frames-root', tmp_path / name, '--out', tmp_path / f'run-{name}')
        assert command(*openeqa, *where, *common) == 0
    bag = tmp_path / 'bags' / 'robot' / 'kitchen'
    replayed = ('replay', bag, '--questions', data, '--offline', '--out', tmp_path / 'run-replay')
    assert command(*replayed, *common) == 0
    answers = [
        [
            (tmp_path / f'run-{name}' / label / 'predictions.json').read_bytes()
            for label in ('none', 'tosa-0.25')
        ]
        for name in ('frames', 'bags', 'replay')
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(set(answers[0])) == 2  # merging does change what this model says


def test_episodes_of_the_tiny_world_by_folder_by_bag_and_by_replay(checkpoint, command, tmp_path):
    pytest.importorskip('open3d')
    world = tmp_path / 'world'
    small = ('--frames', 4, '--size', 64, '--questions', 3, '--format', 'both')
    assert command('world', '--out', world, '--episodes', 2, *small) == 0
    data = world / 'questions.json'
    common = ('--model', checkpoint, '--max-new-tokens', 4, '--prompt', '{question}')
    for name in ('frames', 'bags'):
        where = ('--frames-root', world / name, '--out', tmp_path / name)
        assert command('eval', 'openeqa', '--data', data, *where, *common) == 0
    replayed = []
    for bag in sorted((world / 'bags').glob('*/*')):
        where = ('--questions', data, '--offline', '--out', tmp_path / bag.name)
        assert command('replay', bag, *where, *common) == 0
        replayed += said(tmp_path / bag.name)
    assert len(replayed) == 6
    assert replayed == said(tmp_path / 'frames') == said(tmp_path / 'bags')


def said(run):
    return json.loads((run / 'tosa-0.25' / 'predictions.json').read_text())


def test_replay_reports_what_it_could_not_ask(
    write_json, bag_path, checkpoint, command, tmp_path, capsys
):
    data = write_json('q.json', [{'question': 'What?'}, {'question': 'Later?', 'time': 99}])
    out = tmp_path / 'run'
    args = ('replay', bag_path, '--questions', data, '--depth-topic', 'none', '--out', out)
    args += ('--model', checkpoint, '--max-new-tokens', 4, '--offline', '--json')
    assert command(*args) == 1
    results = json.loads(capsys.readouterr().out)
    assert (results['questions'], results['scored']) == (2, 0)
    (fault,) = results['not_evaluated'].values()
    assert 'time 99.000: outside of kitchen' in fault
    assert any('no depth' in problem for problem in results['problems'])
    text = (out / 'report.md').read_text()
    for wanted in ('0 of 2 questions have an answer', 'Later?', 'outside of kitchen', 'no depth'):
        assert wanted in text
    with pytest.raises(UsageError, match='one of the arguments --offline --live is required'):
        command('replay', bag_path, '--questions', data, '--out', out)


def test_the_report_says_what_was_taken_as_depth_and_what_is_doubtful(
    make, frames, recording, write_bag, write_json, checkpoint, command, tmp_path, capsys
):
    messages = [m for m in recording(make, frames) if 'depth' not in m[0]]
    for _, stamp, _ in messages[1:]:
        far = make.image(np.full((24, 32), 20000, np.uint16), '16UC1', stamp, 'depth_optical')
        messages.append(('/cam/depth', stamp, far))
    bag, data = write_bag(messages), write_json('q.json', [{'question': 'What?'}])
    args = ('replay', bag, '--questions', data, '--model', checkpoint, '--max-new-tokens', 4)
    args += ('--offline', '--json', '--out')
    assert command(*args, tmp_path / 'run') == 0
    out, err = capsys.readouterr()
    results, text = json.loads(out), (tmp_path / 'run' / 'report.md').read_text()
    settings = results['settings']
    assert (settings['depth'], settings['depth_topic']) == ('sensor', '/cam/depth')
    assert settings['depth_scale'] is None
    for wanted in (
        'depth is /cam/depth (16UC1), as its name and encoding say; taken as aligned to colour: '
        "depth is in the frame 'depth_optical', colour in 'optical', and no tf connects them",
        'the median of the first depth image is 20 m',
        'depth is taken as aligned to colour, which nothing shows',
        'the median of depth is outside 0.25 to 8 m',
    ):
        assert any(wanted in problem for problem in results['problems'])
        assert wanted in text
    assert 'depth is /cam/depth' in err
    assert command(*args, tmp_path / 'told', '--depth-scale', 10000) == 0
    results = json.loads(capsys.readouterr().out)
    assert results['settings']['depth_scale'] == 10000
    assert not any('median' in problem for problem in results['problems'])
    live = ('replay', bag, '--questions', data, '--live', '--out', tmp_path / 'live')
    with pytest.raises(UsageError, match='--depth-scale is for --offline; of the running nodes'):
        command(*live, '--depth-scale', 10000)
