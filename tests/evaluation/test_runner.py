"""Runs on a real (tiny, random) checkpoint: resumption, settings, counts, reports, comparison."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tosa_ros.errors import DataError
from tosa_ros.evaluation.asking import Asking
from tosa_ros.evaluation.benchmarks import load_benchmark
from tosa_ros.evaluation.compare import Entry, difference, differences, load_entries
from tosa_ros.evaluation.fingerprints import fingerprint
from tosa_ros.evaluation.report import plot
from tosa_ros.evaluation.results import score_run
from tosa_ros.evaluation.run_folder import RunFolder
from tosa_ros.evaluation.runner import evaluate
from tosa_ros.loading import model_fingerprint
from tosa_ros.merging import NoMerging, ToMe, ToSA
from tosa_ros.sources import VideoFrames, as_source, write_folder

pytest.importorskip('transformers')
METHODS = {'none': NoMerging(), 'tosa-0.25': ToSA(keep=0.25)}
SHORT = Asking(frames=12, max_new_tokens=4)
FEW = Asking(frames=12, max_new_tokens=4, batch=2)


@pytest.fixture
def encoded(pipeline, monkeypatch):
    """How many frames the encoder was given, call by call; it runs as ever."""
    calls = []
    encode = pipeline.encoder.encode

    def counting(frames, *args, **kwargs):
        calls.append(len(frames))
        return encode(frames, *args, **kwargs)

    monkeypatch.setattr(pipeline.encoder, 'encode', counting)
    return calls


def many(write_json, openeqa_record, episodes, each):
    """A file of questions that come in no order of episodes."""
    records = [openeqa_record(n, episodes[n % len(episodes)]) for n in range(each * len(episodes))]
    return load_benchmark('openeqa', write_json('open-eqa.json', records))


EPISODES = ['scannet-v0/002-scannet-scene0709_00', 'hm3d-v0/000-hm3d-BFRyYbPCCPE']


@pytest.fixture
def benchmark(openeqa, write_json, openeqa_record):
    return many(write_json, openeqa_record, EPISODES, 10)


def answers(folder, label):
    lines = (folder / label / 'answers.jsonl').read_text().splitlines()
    return [(r['question_id'], r['answer'], r['tokens_after']) for r in map(json.loads, lines)]


def test_an_episode_costs_one_vision_pass_a_method(benchmark, pipeline, encoded, tmp_path):
    with RunFolder(tmp_path / 'run', {}) as folder:
        outcome = evaluate(benchmark, pipeline, METHODS, folder, SHORT)
    new = [n for n in encoded if n]
    assert sum(new) == 2 * 3 * len(METHODS)  # two episodes of three frames, for 40 answers
    assert {label: len(a) for label, a in outcome.answers.items()} == {'none': 20, 'tosa-0.25': 20}
    for records in outcome.answers.values():
        assert sum(record['vision_ms'] > 0 for record in records) == 2
    assert all(
        merged['tokens_after'] < plain['tokens_after'] == plain['tokens_before']
        for plain, merged in zip(*outcome.answers.values(), strict=True)
    )


def test_shared_frames_give_the_answers_of_the_naive_loop(benchmark, pipeline, tmp_path):
    with RunFolder(tmp_path / 'run', {}) as folder:
        outcome = evaluate(benchmark, pipeline, METHODS, folder, SHORT)
    pipeline.merging = METHODS['tosa-0.25']
    for question in benchmark.questions[:4]:
        frames = list(benchmark.frames(question.episode))
        naive = pipeline.ask(frames, benchmark.prompt(question), max_new_tokens=4)
        assert outcome.predictions('tosa-0.25')[question.id] == naive.text


def test_twelve_frames_and_twenty_questions_cost_one_vision_pass(
    write_json, openeqa_record, frames, pipeline, encoded, tmp_path
):
    write_folder(tmp_path / 'frames' / EPISODES[0], frames * 4)
    benchmark = many(write_json, openeqa_record, EPISODES[:1], 20)
    pipeline.merging, asking = ToSA(keep=0.25), Asking(max_new_tokens=1)

    def naive():
        for question in benchmark.questions:
            read = as_source(benchmark.frames(question.episode)).pick(range(12))
            pipeline.ask(read, benchmark.prompt(question), max_new_tokens=1)

    def ours():
        with RunFolder(tmp_path / f'run-{len(encoded)}', {}) as folder:
            evaluate(benchmark, pipeline, {'tosa': ToSA(keep=0.25)}, folder, asking)

    took, passes = {naive: [], ours: []}, {}
    for _ in range(2):
        for way in took:
            before, start = sum(encoded), time.perf_counter()
            way()
            took[way].append(time.perf_counter() - start)
            passes[way] = sum(encoded) - before
    assert passes == {naive: 20 * 12, ours: 12}
    assert min(took[ours]) < 0.7 * min(took[naive])


def test_batches_give_the_answers_of_single_questions(benchmark, pipeline, tmp_path):
    for name, batch in [('alone', 1), ('few', 3), ('auto', 'auto')]:
        with RunFolder(tmp_path / name, {}) as folder:
            evaluate(benchmark, pipeline, METHODS, folder, replace(SHORT, batch=batch))
    for label in METHODS:
        alone, few, auto = (answers(tmp_path / name, label) for name in ('alone', 'few', 'auto'))
        assert alone == few == auto


def test_episodes_of_one_question_fill_a_batch_together(
    write_json, openeqa_record, frames, pipeline, monkeypatch, tmp_path
):
    names = [f'scannet-v0/scene{n}' for n in range(6)]
    for name in names:
        write_folder(tmp_path / 'frames' / name, frames[:1])
    benchmark = many(write_json, openeqa_record, names, 1)
    batches, whole = [], pipeline.answerer.answer_batch

    def counting(requests, **more):
        batches.append(len(requests))
        return whole(requests, **more)

    monkeypatch.setattr(pipeline.answerer, 'answer_batch', counting)
    with RunFolder(tmp_path / 'run', {}) as folder:
        evaluate(benchmark, pipeline, {'none': NoMerging()}, folder, SHORT)
    assert batches == [6]


def test_the_next_episode_is_decoded_while_the_model_works(benchmark, pipeline, tmp_path):
    """The first answer waits for the second episode: in turns, it would wait for ever."""
    second, decoded = threading.Event(), benchmark.frames
    waited = []

    def frames(episode):
        if episode == EPISODES[1]:
            second.set()
        return decoded(episode)

    def progress(done, wanted):
        if done == 1:
            waited.append(second.wait(30))

    benchmark.frames = frames
    with RunFolder(tmp_path / 'run', {}) as folder:
        asking = replace(SHORT, batch=1)
        evaluate(benchmark, pipeline, {'none': NoMerging()}, folder, asking, progress)
    assert waited == [True]


def test_a_question_that_cannot_be_asked_costs_no_other_its_answer(
    write_json, openeqa, openeqa_record, pipeline, tmp_path
):
    records = [openeqa_record(n, EPISODES[0]) for n in range(5)]
    records[2]['question'] = 'What is <image>?'
    benchmark = load_benchmark('openeqa', write_json('open-eqa.json', records))
    with RunFolder(tmp_path / 'run', {}) as folder:
        outcome = evaluate(benchmark, pipeline, {'none': NoMerging()}, folder, SHORT)
    assert list(outcome.faults) == ['question id-2']
    assert len(outcome.answers['none']) == 4


def test_a_finished_run_asks_nothing(benchmark, pipeline, encoded, tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path / 'run', {'a': 1}) as folder:
            outcome = evaluate(benchmark, pipeline, METHODS, folder, SHORT)
        assert len(outcome.answers['none']) == 20
    assert sum(encoded) == 2 * 3 * len(METHODS)


def test_killed_at_random_moments_it_resumes_to_the_same_answers(benchmark, pipeline, tmp_path):
    """Children are forked, so that ten of them start in no time; SIGKILL leaves them no say."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with RunFolder(tmp_path / 'whole', {}) as folder:
        evaluate(benchmark, pipeline, METHODS, folder, FEW)
    draws = random.Random(0)

    def written():
        return sum(file.stat().st_size for file in (tmp_path / 'killed').glob('*/answers.jsonl'))

    sizes = []
    for _ in range(10):
        killed_at = written() + draws.randrange(1, 1000)
        child = os.fork()
        if child == 0:
            with RunFolder(tmp_path / 'killed', {}) as folder:
                evaluate(benchmark, pipeline, METHODS, folder, FEW)
            os._exit(0)
        ended = 0
        while not ended and written() < killed_at:
            time.sleep(draws.uniform(0, 0.002))
            ended, _ = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        sizes.append(written())
    with RunFolder(tmp_path / 'killed', {}) as folder:
        evaluate(benchmark, pipeline, METHODS, folder, FEW)
    torch.set_num_threads(threads)
    assert len(set(sizes)) > 3  # the kills did fall in between
    for label in METHODS:
        assert answers(tmp_path / 'killed', label) == answers(tmp_path / 'whole', label)


def test_other_settings_are_refused(benchmark, pipeline, tmp_path):
    with RunFolder(tmp_path / 'run', {'frames': 12, 'model': 'a'}) as folder:
        folder.journal('tosa', ToSA(keep=0.25)).close()
        with pytest.raises(DataError, match='another process works on this run'):
            RunFolder(tmp_path / 'run', {'frames': 12, 'model': 'a'})
    with pytest.raises(DataError, match='made with frames=12, not 8'):
        RunFolder(tmp_path / 'run', {'frames': 8, 'model': 'a'})
    with RunFolder(tmp_path / 'run', {'frames': 12, 'model': 'a'}) as folder:
        with pytest.raises(DataError, match=r'made with keep=0\.25, not 0\.5'):
            folder.journal('tosa', ToSA(keep=0.5))
        folder.journal('tome', ToMe(keep=0.5)).close()
    (tmp_path / 'killed').mkdir()
    (tmp_path / 'killed' / '.settings.json.partial-7').touch()
    RunFolder(tmp_path / 'killed', {}).close()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'thesis.tex').touch()
    with pytest.raises(DataError, match='holds other files'):
        RunFolder(tmp_path / 'other', {})


def test_the_fingerprint_changes_with_the_questions(benchmark):
    one = fingerprint(benchmark)
    assert one == fingerprint(benchmark)
    assert one != fingerprint(benchmark, '{question}')
    benchmark.questions.reverse()
    assert one != fingerprint(benchmark)
    with pytest.raises(DataError, match=r'no \{question\}'):
        Asking(template='Describe it')


def test_a_fine_tune_is_another_model(tmp_path):
    import torch
    from safetensors.torch import save_file

    def saved(**changed):
        weights = {'a': torch.zeros(1 << 19), 'b': torch.zeros(1000), **changed}
        save_file(weights, tmp_path / 'model.safetensors')
        return model_fingerprint(tmp_path)

    tuned = {'first': {'a': torch.ones(1 << 19)}, 'last': {'b': torch.ones(1000)}}
    assert saved() == saved()
    assert len({saved(), *(saved(**weights) for weights in tuned.values())}) == 3
    headers = [b'[]', b'{"a":3}', b'[1]']
    headers += [b'{"a":{"data_offsets":[%s]}}' % at for at in (b'-50,2', b'0.5,2', b'5,2', b'5')]
    damaged = [len(header).to_bytes(8, 'little') + header for header in headers]
    for content in (b'', b'\xff' * 100, *damaged):
        (tmp_path / 'model.safetensors').write_bytes(content)
        model_fingerprint(tmp_path)


def test_missing_episodes_are_reported_and_count_as_wrong(
    openeqa, write_json, openeqa_record, pipeline, tmp_path
):
    benchmark = many(write_json, openeqa_record, [EPISODES[0], 'scannet-v0/gone'], 2)
    with RunFolder(tmp_path / 'run', {}) as folder:
        outcome = evaluate(benchmark, pipeline, {'none': NoMerging()}, folder, SHORT)
    results = score_run(benchmark, outcome, tmp_path / 'run', {})
    assert list(outcome.faults) == ['episode scannet-v0/gone']
    assert results['methods']['none']['answered'] == 2
    exact = results['methods']['none']['scores'][0]
    assert exact['by_category'].keys() == {'object recognition', 'world knowledge'}
    values = json.loads((tmp_path / 'run' / 'none' / 'values.json').read_text())
    assert len(values[0]['values']) == 4
    benchmark = many(write_json, openeqa_record, ['scannet-v0/gone'], 2)
    with (
        RunFolder(tmp_path / 'none', {}) as folder,
        pytest.raises(DataError, match=r'no question was answered; episode.*gone'),
    ):
        evaluate(benchmark, pipeline, METHODS, folder, SHORT)


def test_a_broken_frame_is_left_out_and_noted(benchmark, openeqa, pipeline, tmp_path):
    folder = openeqa.parent / 'frames' / EPISODES[0]
    (folder / '00001-rgb.png').write_bytes(b'no picture')
    with RunFolder(tmp_path / 'run', {}) as run_folder:
        outcome = evaluate(benchmark, pipeline, {'none': NoMerging()}, run_folder, SHORT)
    assert sorted({record['frames'] for record in outcome.answers['none']}) == [2, 3]
    assert not outcome.faults
    (problem,) = benchmark.problems
    assert 'left out' in problem
    assert '00001-rgb.png' in problem
    # Nothing is decoded when the run is taken up, but its answers did not see that frame.
    benchmark.problems.clear()
    for _ in range(2):
        with RunFolder(tmp_path / 'run', {}) as run_folder:
            outcome = evaluate(benchmark, pipeline, {'none': NoMerging()}, run_folder, SHORT)
    assert score_run(benchmark, outcome, tmp_path / 'run', {})['problems'] == [problem]
    assert (tmp_path / 'run' / 'problems.jsonl').read_text().count('\n') == 1


def test_a_video_cut_by_an_edit_list_is_sampled_over_what_is_left(
    write_json, openeqa_record, frames, pipeline, tmp_path
):
    av = pytest.importorskip('av')
    whole, cut = tmp_path / 'whole.mp4', tmp_path / 'frames' / f'{EPISODES[0]}.mp4'
    cut.parent.mkdir(parents=True)
    with av.open(str(whole), 'w') as container:
        stream = container.add_stream('libx264', rate=30, options={'bf': '2', 'g': '10'})
        stream.width, stream.height, stream.pix_fmt = 32, 24, 'yuv420p'
        for i in range(40):
            picture = av.VideoFrame.from_ndarray(frames[i % 3].rgb, format='rgb24')
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    with av.open(str(whole)) as source, av.open(str(cut), 'w') as container:
        (stream,) = source.streams.video
        copy = container.add_stream_from_template(stream)
        start = int(0.5 / stream.time_base)  # frame 15, inside of a group of pictures
        source.seek(start, stream=stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - start, packet.dts - start
                packet.stream = copy
                container.mux(packet)
    said = len(VideoFrames(cut))
    benchmark = many(write_json, openeqa_record, EPISODES[:1], 1)
    with RunFolder(tmp_path / 'run', {}) as folder:
        outcome = evaluate(benchmark, pipeline, {'none': NoMerging()}, folder, SHORT)
    assert [record['frames'] for record in outcome.answers['none']] == [12]
    (problem,) = benchmark.problems
    assert f'says it has {said} frames, but only ' in problem


def test_frames_may_be_changed_before_they_are_asked_about(benchmark, pipeline, tmp_path):
    asking = Asking(2, None, 4, change=lambda frame: frame.without_depth())
    with RunFolder(tmp_path / 'run', {}) as folder:
        outcome = evaluate(benchmark, pipeline, {'tosa': ToSA(keep=0.5)}, folder, asking)
    assert {record['spatial'] for record in outcome.answers['tosa']} == {'none'}


@pytest.fixture
def run(openeqa, checkpoint, command, tmp_path):
    def start(out, *more):
        return command(
            *('eval', 'openeqa', '--data', openeqa, '--model', checkpoint, '--frames', 2),
            *('--max-new-tokens', 4, '--out', tmp_path / out, *more),
        )

    return start


def test_the_command_writes_everything(run, tmp_path, capsys):
    methods = ('--method', 'none', '--method', 'tosa', '--keep', 0.5, '--keep', 0.25)
    assert run('run', *methods, '--json') == 0
    printed = json.loads(capsys.readouterr().out)
    folder = tmp_path / 'run'
    pairs = [(d['label'], d['against']) for d in printed['differences']]
    assert pairs == [('tosa-0.5', 'none'), ('tosa-0.25', 'none')]
    assert all(0 < d['p'] <= 1 and d['better'] + d['worse'] <= 4 for d in printed['differences'])
    assert printed == json.loads((folder / 'scores.json').read_text())
    assert list(printed['methods']) == ['none', 'tosa-0.5', 'tosa-0.25']
    names = [score['metric'] for score in printed['methods']['none']['scores']]
    assert names == ['Exact match (normalised)', 'Token F1']  # no judge: never LLM-Match
    predictions = json.loads((folder / 'tosa-0.25' / 'predictions.json').read_text())
    assert [p.keys() for p in predictions] == [{'question_id', 'answer'}] * 4
    assert [p['question_id'] for p in predictions] == [f'id-{i}' for i in range(4)]
    text = (folder / 'report.md').read_text()
    for wanted in (
        'Exact match (normalised)',
        '| tosa-0.25 | 4/4 |',
        'world knowledge',
        'prefill',
    ):
        assert wanted in text
    page = (folder / 'report.html').read_text()
    assert page.count('<table>') == 5
    assert 'data:image/png;base64,' in page
    assert (folder / 'plot.png').read_bytes().startswith(b'\x89PNG')
    with pytest.raises(DataError, match='made with frames=2, not 3'):
        run('run', '--frames', 3)
    with pytest.raises(DataError, match='made with frames_root=None'):
        run('run', '--frames-root', tmp_path)


def test_a_report_has_every_method_that_was_asked_in_its_folder(run, tmp_path, capsys):
    def methods(*more, code=0):
        capsys.readouterr()
        assert run('run', *more, '--json') == code
        return json.loads(capsys.readouterr().out)

    assert list(methods('--method', 'none')['methods']) == ['none']
    both = methods('--method', 'tome')
    assert list(both['methods']) == ['tome-0.25', 'none']
    assert [(d['label'], d['against']) for d in both['differences']] == [('none', 'tome-0.25')]
    # One that was ended while it was asked is named, and taken in when it is complete.
    journal = tmp_path / 'run' / 'none' / 'answers.jsonl'
    journal.write_text(journal.read_text().partition('\n')[2])
    cut = methods('--method', 'tome', code=1)
    assert list(cut['methods']) == ['tome-0.25']
    assert 'it lacks 1 answers' in cut['not_evaluated']['method none']
    assert list(methods('--method', 'none')['methods']) == ['none', 'tome-0.25']


def test_a_score_rounded_past_its_interval_is_drawn():
    pytest.importorskip('matplotlib')
    score = {'metric': 'm', 'overall': 100.0, 'interval_95': [88.3, 99.99999999999999]}
    results = {'methods': {'tosa': {'cost': {'tokens_after': 5}, 'scores': [score]}}}
    assert plot(results).startswith(b'\x89PNG')


def test_a_run_that_lacks_an_episode_does_not_end_well(
    run, openeqa, openeqa_record, write_json, command, capsys
):
    records = [*json.loads(openeqa.read_text()), openeqa_record(9, 'scannet-v0/gone')]
    write_json(openeqa.name, records)
    assert run('run', '--method', 'none') == 1
    assert 'episode scannet-v0/gone: ' in capsys.readouterr().err
    assert command('eval', 'openeqa', '--data', openeqa, '--dry-run') == 1
    assert 'missing: scannet-v0/gone: ' in capsys.readouterr().out


def test_compare_puts_runs_side_by_side(run, command, tmp_path, capsys):
    run('a', '--method', 'none')
    run('b', '--method', 'tome', '--method', 'tosa')
    capsys.readouterr()
    assert command('compare', tmp_path / 'a', tmp_path / 'b', '--json') == 0
    found = json.loads(capsys.readouterr().out)
    assert [e['label'] for e in found['entries']] == ['a/none', 'b/tome-0.25', 'b/tosa-0.25']
    assert [d['against'] for d in found['differences']] == ['a/none'] * 2
    assert command('compare', tmp_path / 'a', '--metric', 'Token F1') == 0
    assert 'Token F1' in capsys.readouterr().out
    with pytest.raises(DataError, match='no per-question'):
        load_entries([tmp_path / 'a'], 'LLM-Match')
    with pytest.raises(DataError, match=r'holds no scores\.json'):
        load_entries([tmp_path])


def test_compare_distinguishes_runs_of_one_name(run, command, tmp_path, capsys):
    for parent in ('a', 'b'):
        (tmp_path / parent).mkdir()
        run(f'{parent}/run', '--method', 'none')
    capsys.readouterr()
    runs = [tmp_path / parent / 'run' for parent in ('a', 'b')]
    assert command('compare', *runs) == 0
    lines = capsys.readouterr().out.splitlines()[2:4]
    assert [line.split(' | ')[0] for line in lines] == [f'| {one}/none' for one in runs]
    assert lines[0].count('|') == lines[1].count('|')
    assert '+0.0' in lines[1]
    assert '+0.0' not in lines[0]


def test_compare_names_runs_that_it_cannot_compare(run, write_json, tmp_path):
    run('run', '--method', 'none')
    scores = tmp_path / 'run' / 'scores.json'
    for text, message in (
        ('{"methods": {"none": {"scores": []}}}', 'holds no scores'),
        ('{"methods": 3}', 'not what a run writes'),
        ('[]', 'not what a run writes'),
        ('{', 'not JSON'),
    ):
        scores.write_text(text)
        with pytest.raises(DataError, match=message):
            load_entries([tmp_path / 'run'])


def entry(label, values):
    weights = {key: 1 / len(values) for key in map(str, range(len(values)))}
    scores = dict(zip(weights, map(float, values), strict=True))
    episodes = {key: int(key) for key in weights}
    return Entry(label, 'm', sum(values) / len(values), (0, 0), 1.0, scores, weights, episodes)


def test_paired_significance():
    worse = entry('worse', [0] * 10 + [100] * 90)
    better = entry('better', [100] * 100)
    (gap,) = differences([worse, better])
    # McNemar's exact test, 10 of 10 in one direction: 2 / 2**10.
    assert gap.p == pytest.approx(2 / 2**10, abs=1e-3)
    assert gap.points == pytest.approx(10)
    assert 3 < gap.interval[0] < gap.points < gap.interval[1] < 17
    same = difference(worse, worse)
    assert (same.points, same.p) == (0, 1.0)
    # None of 100 questions differs: at most 3.7 % of all do (Wilson).
    assert same.interval == pytest.approx((-3.7, 3.7), abs=0.01)


def test_dry_run_needs_no_model(openeqa):
    code = (
        'import sys; from tosa_ros.cli.main import main; '
        'assert main(sys.argv[1:]) == 0; assert "transformers" not in sys.modules'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, 'eval', 'openeqa', '--data', openeqa, '--dry-run', '--json'],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    found = json.loads(done.stdout)
    assert (found['questions'], found['episodes'], found['missing']) == (4, 2, {})
