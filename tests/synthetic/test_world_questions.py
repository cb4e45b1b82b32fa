"""Every answer is found again from its text, the instance map, the depth and the objects."""

import collections
import itertools
import re

import numpy as np
import pytest

from tosa_ros.synthetic import (
    COLOURS,
    EPISODE_QUESTION_TYPES,
    FLOORS,
    QUESTION_TYPES,
    SHAPES,
    THRESHOLDS,
    episode,
    single,
)

NAME = rf'(?:{"|".join(COLOURS)}) (?:{"|".join(SHAPES)})'
SEATS = {'sit on': ('chair', 'sofa'), 'read by': ('lamp',), 'eat at': ('table',)}


class Picture:
    """One frame, looked at pixel by pixel."""

    def __init__(self, frame, instances, objects):
        self.names = [o.name for o in objects]
        self.instances = instances
        k = frame.intrinsics
        v, u = np.mgrid[: frame.height, : frame.width].astype(float)
        x, y = (u - k.cx) / k.fx, (v - k.cy) / k.fy
        self.range = frame.depth_m * np.sqrt(x**2 + y**2 + 1)
        self.eye = frame.pose[:3, 3]

    def mask(self, name):
        return self.instances == self.names.index(name)

    def pixels(self, name):
        return int(self.mask(name).sum())

    def distance(self, name):
        return float(self.range[self.mask(name)].min())

    def column(self, name):
        return float(np.nonzero(self.mask(name))[1].mean())


def derive(question, sample, picture):
    """The answer of a view's question, from its text alone."""
    text = question.text.lower()
    names = re.findall(NAME, text)
    things = {o.name: o for o in sample.objects}
    kind = question.type
    if kind == 'existence':
        return 'yes' if names[0] in things else 'no'
    if kind == 'counting':
        word = re.search(r'(?:how many|count the) (\w+)', text)[1]
        key = word.removesuffix('es') if word == 'boxes' else word.removesuffix('s')
        return str(sum(key in (o.shape, o.colour) for o in sample.objects))
    if kind == 'colour':
        shape = re.search('|'.join(SHAPES), text)[0]
        (thing,) = [o for o in sample.objects if o.shape == shape]
        return thing.colour
    if kind == 'shape':
        colour = re.search('|'.join(COLOURS), text)[0]
        (thing,) = [o for o in sample.objects if o.colour == colour]
        return thing.shape
    if kind == 'nearer':
        return min(names, key=picture.distance)
    if kind == 'left_right':
        return 'left' if picture.column(names[0]) < picture.column(names[1]) else 'right'
    if kind == 'on_under':
        thing, table = (things[n] for n in names)
        return 'on' if thing.centre[2] > table.centre[2] else 'under'
    if kind == 'size':
        return 'small' if things[names[0]].extent[2] < 0.6 else 'large'
    if kind == 'distance':
        return f'{picture.distance(names[0]):.0f}'
    if kind == 'state':
        return 'upright' if things[names[0]].extent[2] > 1.0 else 'fallen'
    if kind == 'function':
        use = next(u for u in SEATS if u in text)
        return 'yes' if any(o.shape in SEATS[use] for o in sample.objects) else 'no'
    if kind == 'floor':
        (room,) = {o.room for o in sample.objects}
        return room
    raise AssertionError(kind)


def test_view_answers_are_right(samples):
    checked = collections.Counter()
    for sample in samples:
        picture = Picture(sample.frame, sample.instances, sample.objects)
        for question in sample.questions:
            assert question.answer == derive(question, sample, picture), question
            checked[question.type] += 1
    assert set(checked) == set(QUESTION_TYPES)
    assert min(checked.values()) >= 15


def test_only_what_is_visible_enough_is_asked_about(samples):
    for sample in samples:
        for question in sample.questions:
            for i in question.evidence:
                pixels = int((sample.instances == i).sum())
                assert pixels == sample.objects[i].visible_pixels >= THRESHOLDS.min_pixels
                assert sample.objects[i].visible_fraction >= THRESHOLDS.min_fraction


def test_differences_asked_about_are_clear(samples):
    for sample in samples:
        picture = Picture(sample.frame, sample.instances, sample.objects)
        for question in sample.questions:
            names = re.findall(NAME, question.text)
            if question.type == 'nearer':
                gap = abs(picture.distance(names[0]) - picture.distance(names[1]))
                assert gap >= THRESHOLDS.nearer_gap_m - 1e-3
            if question.type == 'left_right':
                gap = abs(picture.column(names[0]) - picture.column(names[1]))
                assert gap >= THRESHOLDS.side_gap * sample.frame.width
            if question.type == 'distance':
                miss = abs(picture.distance(names[0]) - float(question.answer))
                assert miss <= THRESHOLDS.distance_tolerance_m + 1e-3


def test_episode_answers_are_right(episodes):
    checked = collections.Counter()
    for made in episodes:
        things = {o.name: o for o in made.objects}
        pixels = np.array([[(m == i).sum() for i in range(len(things))] for m in made.instances])
        clear = np.array(made.clear)
        assert (pixels[clear] >= THRESHOLDS.min_pixels).all()
        for question in made.questions:
            names = re.findall(NAME, question.text.lower())
            checked[question.type] += 1
            if question.type == 'first_seen':
                first = {n: clear[:, list(things).index(n)].argmax() for n in names}
                winner, loser = sorted(names, key=first.get)
                assert pixels[: first[winner] + 1, list(things).index(loser)].sum() == 0
                answer = winner
            elif question.type == 'which_room':
                answer = things[names[0]].room
                assert len(made.rooms) > 1
            elif question.type == 'room_count':
                answer = str(len(made.rooms))
            else:
                answer = derive(question, made, None)
            assert question.answer == answer, question
            assert all(clear[:, i].any() for i in question.evidence)
    assert set(checked) == set(EPISODE_QUESTION_TYPES)


def test_rooms_are_where_their_things_are(episodes):
    """Things of one room lie between those of others along x; the camera visits each room."""
    for made in episodes:
        assert set(made.rooms) <= set(FLOORS)
        assert {o.room for o in made.objects} <= set(made.rooms)
        spans = [
            (min(xs), max(xs))
            for room in made.rooms
            if (xs := [o.centre[0] for o in made.objects if o.room == room])
        ]
        ordered = sorted(spans)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ordered))
        assert spans in (ordered, ordered[::-1])
        stamps = [frame.stamp for frame in made.frames]
        assert stamps[0] == 0
        assert (np.diff(stamps) > 0).all()


def test_questions_are_well_formed(samples, episodes):
    for made in (*samples, *episodes):
        assert len({q.text for q in made.questions}) == len(made.questions)
        for question in made.questions:
            assert re.fullmatch(r'[A-Z][a-z ,]*[?.]', question.text), question.text
            assert re.fullmatch(r'[a-z]+( [a-z]+)?|\d', question.answer)
            assert not re.search(r'\ba [aeiou]|\ban [^aeiou]', question.text)
            if question.options:
                assert question.answer in question.options
                assert len(set(question.options)) == 2


def test_how_many_questions():
    assert single('test', 1, questions=0).questions == ()
    assert len(single('test', 1, questions=3).questions) == 3
    every = single('test', 1).questions
    assert len({q.type for q in every}) == len(every)
    assert len(single('test', 1, questions=14).questions) == 14
    assert len(episode('test', 2, frames=4, questions=5).questions) == 5


LARGEST_SHARE = {
    'counting': 0.42,
    'colour': 0.22,
    'shape': 0.25,
    'distance': 0.45,
    'floor': 0.36,
    'nearer': 0.08,
}


@pytest.fixture(scope='module')
def many():
    return [q for i in range(350) for q in single('val', i, questions=14).questions]


def test_answers_are_balanced(many):
    by_type = collections.defaultdict(collections.Counter)
    for question in many:
        by_type[question.type][question.answer] += 1
    for kind in QUESTION_TYPES:
        counts = by_type[kind]
        share = counts.most_common(1)[0][1] / counts.total()
        assert share <= LARGEST_SHARE.get(kind, 0.6), (kind, counts)
    assert set(by_type['counting']) >= set('01234')
    assert set(by_type['colour']) == set(COLOURS)
    assert set(by_type['shape']) == set(SHAPES)


def test_options_are_right_equally_often(many):
    by_place = collections.defaultdict(list)
    for question in many:
        if question.options:
            by_place[question.type].append(question.options.index(question.answer))
    for kind, places in by_place.items():
        assert np.mean(places) == pytest.approx(0.5, abs=0.12), kind


def test_guessing_from_the_text_does_not_pay(many):
    """The most frequent answer to the same text, else of the type, learned on one half."""
    half = len(many) // 2
    texts, types = collections.defaultdict(list), collections.defaultdict(list)
    for question in many[:half]:
        texts[question.text].append(question.answer)
        types[question.type].append(question.answer)

    def most(answers):
        return collections.Counter(answers).most_common(1)[0][0]

    open_ended = [q for q in many[half:] if not q.options]
    blind = [q.answer == most(texts.get(q.text) or types[q.type]) for q in open_ended]
    prior = [q.answer == most(types[q.type]) for q in open_ended]
    assert np.mean(blind) <= np.mean(prior) + 0.04
    chosen = [
        q.answer == (most(texts[q.text]) if q.text in texts else q.options[0])
        for q in many[half:]
        if q.options
    ]
    assert np.mean(chosen) == pytest.approx(0.5, abs=0.06)


def test_the_language_is_small(many):
    words = {w for q in many for w in re.findall(r'[a-z0-9]+', f'{q.text} {q.answer}'.lower())}
    assert len(words) < 120
