"""Made questions have one right answer, which can be seen in the picture they were made from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('cv2')

from benchmarks.real.made_questions import COLOURS, Balance, colour_names, made, weighted
from benchmarks.real.nyu import CLASSES, Scene, View

BED, CHAIR, PICTURE, LAMP = (CLASSES.index(n) for n in ('bed', 'chair', 'picture', 'lamp'))
NONE = CLASSES.index('other or none')


def room(boxes):
    """A grey room with boxes (class, left, top, width, height, colour, metres)."""
    rgb = np.full((200, 260, 3), 230, np.uint8)
    depth = np.full((200, 260), 5.0, np.float32)
    labels = np.full((200, 260), NONE, np.uint8)
    for thing, left, top, width, height, colour, metres in boxes:
        where = slice(top, top + height), slice(left, left + width)
        rgb[where], depth[where], labels[where] = colour, metres, thing
    return Scene(1, rgb, depth, labels)


TWO = room(
    [(BED, 10, 80, 70, 60, (200, 20, 20), 2.0), (CHAIR, 160, 90, 60, 60, (20, 20, 20), 3.1)]
)


def answers(scene, **settings):
    found = {}
    for one in made(scene, **settings):
        assert one.asked.question not in found, 'asked twice'
        found[one.asked.question] = one.asked.answer
    return found


def test_answers_are_those_of_the_picture():
    said = answers(TWO)
    assert said['which is nearer, the bed or the chair?'] == 'bed'
    assert said['which is nearer, the chair or the bed?'] == 'bed'
    assert said['is the bed left or right of the chair?'] == 'left'
    assert said['is the chair left or right of the bed?'] == 'right'
    assert said['in which half of the picture is the bed?'] == 'left'
    assert said['how many chairs are there?'] == '1'
    assert said['is there a bed?'] == 'yes'
    assert said['is there a toilet?'] == 'no'
    assert said['what color is the bed?'] == 'red'
    assert said['what color is the chair?'] == 'black'
    assert said['how many metres away is the bed?'] == '2'
    assert said['how many metres away is the chair?'] == '3'


def test_the_mirrored_picture_swaps_sides_alone():
    said, mirrored = answers(TWO), answers(View(mirrored=True).of(TWO))
    assert said.keys() == mirrored.keys()
    swapped = {'left': 'right', 'right': 'left'}
    assert mirrored == {q: swapped.get(a, a) for q, a in said.items()}


def test_a_crop_asks_of_what_it_shows_and_of_no_metres():
    left = View((0.0, 0.0, 0.45, 1.0))
    said = answers(left.of(TWO), metres=False)
    assert said['is there a bed?'] == 'yes'
    assert said['is there a chair?'] == 'no'
    assert not any('metres' in question for question in said)


def test_unclear_things_are_not_asked_about():
    level = room(
        [(BED, 10, 80, 70, 60, (90, 20, 20), 2.0), (CHAIR, 40, 150, 60, 40, (0, 0, 0), 2.1)]
    )
    said = answers(level)
    assert not any(q.startswith('which is nearer') for q in said)
    assert not any('left or right of' in q for q in said)
    half_way = room([(BED, 10, 80, 70, 60, (168, 168, 168), 2.5)])
    assert not any('metres' in q or 'what color is the bed' in q for q in answers(half_way))


@pytest.mark.parametrize('count', [1, 2, 3])
def test_regions_are_counted(count):
    boxes = [(PICTURE, 10 + 70 * i, 20, 40, 30, (9, 9, 9), 4.0) for i in range(count)]
    assert answers(room(boxes))['how many pictures are there?'] == str(count)


@pytest.mark.parametrize(
    'boxes',
    [
        [(PICTURE, 10, 20, 40, 30), (PICTURE, 51, 20, 40, 30)],  # two, or one behind a bar
        [(PICTURE, 10, 20, 60, 14), (PICTURE, 10, 34, 14, 60)],  # an L is two that touch
        [(PICTURE, 10, 20, 40, 30), (PICTURE, 120, 20, 6, 6)],  # and a speck
    ],
)
def test_doubtful_regions_are_not_counted(boxes):
    scene = room([(*box, (9, 9, 9), 4.0) for box in boxes])
    assert 'how many pictures are there?' not in answers(scene)


@pytest.mark.parametrize(
    ('rgb', 'name'),
    [
        ((250, 250, 250), 'white'), ((5, 5, 5), 'black'), ((110, 110, 110), 'gray'),
        ((200, 30, 30), 'red'), ((40, 160, 50), 'green'), ((40, 60, 200), 'blue'),
        ((120, 80, 40), 'brown'), ((240, 220, 60), 'yellow'), ((180, 180, 180), None),
    ],
)  # fmt: skip
def test_pure_colours_have_names(rgb, name):
    found = colour_names(np.full((2, 2, 3), rgb, np.uint8))
    assert (found == (COLOURS.index(name) if name else -1)).all()


def test_drawing_is_repeatable_and_no_answer_outweighs_the_others():
    scenes = [TWO, View(mirrored=True).of(TWO), room([(LAMP, 10, 10, 40, 40, (9, 9, 9), 1.0)])]
    every = [made(scene) for scene in scenes]
    balance = Balance.of(one for some in every for one in some)

    def drawn(seed):
        return [
            weighted(e, balance, 12, np.random.default_rng([seed, i])) for i, e in enumerate(every)
        ]

    assert drawn(0) == drawn(0)
    said = [a for seed in range(60) for some in drawn(seed) for a in some if a.kind == 'is there']
    yes = np.mean([one.answer == 'yes' for one in said])
    assert 0.4 < yes < 0.6, 'of 33 things, two are there'
    blindly = {one.question for one in said} & {'is there a toilet?', 'is there a towel?'}
    assert not blindly, 'their answer is always no'
