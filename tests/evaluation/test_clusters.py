"""Questions about one episode are no strangers: intervals and p-values know which share one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tosa_ros.errors import DataError
from tosa_ros.evaluation.compare import Entry, difference, load_entries
from tosa_ros.evaluation.metrics import interval, make_score
from tosa_ros.evaluation.metrics.score import units
from tosa_ros.evaluation.metrics.vsibench import NUMERIC_TASKS, overall
from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.stats import mcnemar, wilson


class Rooms(Benchmark):
    """So many questions in each of so many rooms."""

    name = 'rooms'

    @classmethod
    def load(cls, rooms, each, category='', answer='a'):
        names = [(room, n) for room in range(rooms) for n in range(each)]
        return cls(
            [Question(f'{r}-{n}', 'Q?', (answer,), category, f'room {r}') for r, n in names]
        )

    def frames(self, episode):
        raise DataError('no frames')


def width(ends):
    return ends[1] - ends[0]


def entry(label, benchmark, right):
    """A method that is right in the questions of these rooms."""
    said = {q.id: 'a' if q.episode in right else 'b' for q in benchmark.questions}
    score = benchmark.score(said)[0]
    return Entry.of(label, score, {'tokens_after': 1.0})


def rooms(*numbers):
    return {f'room {n}' for n in numbers}


@pytest.mark.parametrize('each', [1, 4, 9])
def test_questions_that_are_all_alike_in_a_room_tell_as_much_as_one(each):
    benchmark = Rooms.load(50, each)
    said = {q.id: 'a' if q.episode in rooms(*range(20)) else 'b' for q in benchmark.questions}
    score = benchmark.score(said)[0]
    assert score.overall == 40
    # With each room the same throughout, 50 rooms are 50 answers.
    assert score.interval == pytest.approx(tuple(100 * x for x in wilson(20, 50)), abs=0.8)
    if each == 1:
        assert score.interval == pytest.approx(tuple(100 * x for x in wilson(20, 50)))
    assert score.to_dict()['interval_over'] == '50 episodes'


def test_questions_that_are_strangers_lose_nothing():
    draws = np.random.default_rng(0)
    benchmark = Rooms.load(200, 5)
    said = {q.id: draws.choice(['a', 'b']) for q in benchmark.questions}
    score = benchmark.score(said)[0]
    alone = wilson(sum(one == 'a' for one in said.values()), 1000)
    assert width(score.interval) == pytest.approx(100 * width(alone), rel=0.1)


@pytest.mark.parametrize('aggregate', ['mean', 'tasks'])
def test_the_bootstrap_draws_episodes(aggregate):
    """Of values that are not right-or-wrong: the width is that of the rooms' means."""
    draws = np.random.default_rng(1)
    means = draws.uniform(20, 80, 60)
    values = np.repeat(means, 8)
    tasks = np.tile(NUMERIC_TASKS, 120)
    episodes = np.repeat(np.arange(60), 8).tolist()
    more = (overall,) if aggregate == 'tasks' else ()
    clustered = interval(values, tasks, *more, episodes=episodes)
    naive = interval(values, tasks, *more)
    wanted = 2 * 1.96 * means.std() / np.sqrt(60)
    assert width(clustered) == pytest.approx(wanted, rel=0.1)
    assert width(clustered) / width(naive) == pytest.approx(np.sqrt(8), rel=0.1)


@pytest.mark.parametrize('said', ['a', 'b'])
@pytest.mark.parametrize(('count', 'each'), [(20, 1), (20, 6), (1, 20)])
def test_all_wrong_and_all_right_have_an_interval(count, each, said):
    benchmark = Rooms.load(count, each)
    for score in benchmark.score({q.id: said for q in benchmark.questions}):
        # Newcombe 1998, table I: 0 of 20. Six answers of a room count as one.
        low, high = score.interval
        ends = (0, 16.11) if said == 'b' else (100 - 16.11, 100)
        assert (low, high) == pytest.approx(ends, abs=0.01)
        assert low <= score.overall <= high


def test_all_wrong_over_tasks_has_an_interval():
    tasks = [NUMERIC_TASKS[n % 4] for n in range(80)]
    score = make_score(
        'm', dict.fromkeys(range(80), 0.0), tasks, overall, [n // 4 for n in range(80)]
    )
    assert score.interval == pytest.approx((0, 16.11), abs=0.01)


def test_one_episode_has_its_questions_for_units():
    benchmark = Rooms.load(1, 40)
    said = {q.id: 'a' if n < 10 else 'b' for n, q in enumerate(benchmark.questions)}
    score = benchmark.score(said)[0]
    assert score.interval == pytest.approx(tuple(100 * x for x in wilson(10, 40)))
    assert units(score.episodes) == '40 questions of one episode'


def test_a_difference_is_as_sure_as_its_rooms_are_many():
    """Ten rooms of nine questions, better in six rooms: 54 questions, but six rooms."""
    benchmark = Rooms.load(10, 9)
    gap = difference(entry('new', benchmark, rooms(*range(6))), entry('old', benchmark, rooms()))
    assert (gap.points, gap.better, gap.worse) == (pytest.approx(60), 54, 0)
    assert gap.p == pytest.approx(mcnemar(6, 0))
    assert gap.interval == pytest.approx((30, 90), abs=1)
    assert gap.over == '10 episodes'
    alone = Rooms.load(90, 1)
    new, old = entry('new', alone, rooms(*range(54))), entry('old', alone, rooms())
    gap = difference(new, old)
    assert gap.p == pytest.approx(mcnemar(54, 0))
    assert width(gap.interval) == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.24 / 90), rel=0.1)


def test_a_difference_stays_within_what_is_possible():
    """Rooms of unequal size, nearly all better: no interval beyond 100 points."""
    sizes = [1, 2, 9, 1]
    names = [(room, n) for room, size in enumerate(sizes) for n in range(size)]
    benchmark = Rooms([Question(f'{r}-{n}', '?', ('a',), '', f'room {r}') for r, n in names])
    gap = difference(entry('new', benchmark, rooms(0, 1, 2)), entry('old', benchmark, rooms()))
    assert gap.points == pytest.approx(100 * 12 / 13)
    assert 0 <= gap.interval[0] < gap.points < gap.interval[1] <= 100 + 1e-9


def test_rooms_that_moved_unequally_far_are_flipped_whole():
    benchmark = Rooms.load(6, 5)
    said = {q.id: 'a' for q in benchmark.questions}
    for q in benchmark.questions:
        if q.episode == 'room 5' and q.id != '5-0':
            said[q.id] = 'b'
    new = Entry.of('new', benchmark.score(said)[0], {'tokens_after': None})
    gap = difference(new, entry('old', benchmark, rooms()))
    # Of the 64 ways to sign six rooms, two are as far out.
    assert gap.p == pytest.approx(2 / 64, abs=0.01)


def test_methods_that_answer_alike_may_still_differ_elsewhere():
    benchmark = Rooms.load(20, 3)
    for right in (rooms(), rooms(*range(20)), rooms(1, 2)):
        gap = difference(entry('new', benchmark, right), entry('old', benchmark, right))
        assert (gap.points, gap.p) == (0, 1)
        assert gap.interval == pytest.approx((-16.11, 16.11), abs=0.01)
    gap = difference(entry('new', benchmark, rooms(*range(20))), entry('old', benchmark, rooms()))
    assert gap.interval == pytest.approx((100 - 16.11, 100), abs=0.01)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40),
    st.booleans(),
)
def test_an_interval_holds_its_score(answers, binary):
    values = {
        n: float(right) if binary else right / 2 + 0.1 for n, (right, _) in enumerate(answers)
    }
    score = make_score('m', values, [''] * len(values), episodes=[room for _, room in answers])
    low, high = score.interval
    assert -1e-9 <= low <= score.overall + 1e-9
    assert score.overall - 1e-9 <= high <= 100 + 1e-9


def test_compare_wants_to_know_the_episodes(run):
    values = run / 'none' / 'values.json'
    stored = json.loads(values.read_text())
    assert set(stored[0]['episodes'].values()) == {0}
    for one in stored:
        del one['episodes']
    values.write_text(json.dumps(stored))
    with pytest.raises(DataError, match='an older version wrote it; run the same command again'):
        load_entries([run])


@pytest.fixture
def run(tmp_path):
    """A scored run of two methods."""
    from tosa_ros.evaluation.results import score_run
    from tosa_ros.evaluation.runner import Outcome

    benchmark = Rooms.load(1, 4)
    answers = [{'question_id': q.id, 'answer': 'a'} for q in benchmark.questions]
    score_run(benchmark, Outcome({'none': answers, 'tosa': answers[:2]}), tmp_path / 'run', {})
    return tmp_path / 'run'


def test_compare_says_over_what_and_has_no_tokens_where_none_are_known(run, command, capsys):
    assert command('compare', run) == 0
    out = capsys.readouterr().out
    assert '| none | - | 100.0 |' in out
    assert 'intervals and p over 4 questions of one episode' in out
