"""Questions about one view, with exactly one right answer each, made from its scene graph.

Wherever it can be, the answer is drawn first and then something found to ask it about: so no
answer of a type is much more frequent than another, and guessing blind does not pay.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tosa_ros.synthetic.asking import THRESHOLDS, Question, Seen, SeenView
from tosa_ros.synthetic.meshes import SHAPES, SIMPLE_SHAPES
from tosa_ros.synthetic.objects import COLOURS, COUNTABLE, FALLEN_TILT_DEG
from tosa_ros.synthetic.phrases import Asked, one, plural, say

LAPS = 6  # rounds over the types when more questions are wanted than there are types
Maker = Callable[[Seen, np.random.Generator], Asked | None]

USES = {
    'sit on': ('chair', 'sofa'),
    'read by': ('lamp',),
    'eat at': ('table',),
}


def ask(
    seen: Seen,
    rng: np.random.Generator,
    count: int | None = None,
    makers: dict[str, Maker] | None = None,
) -> tuple[Question, ...]:
    """Questions about what was seen, in random order.

    Args:
        count: how many at most; fewer where the view allows no more. None: at most one of
            each type.
        makers: what makes a question of each type; None: those for one view.
    """
    makers = makers or VIEW_MAKERS
    found: dict[tuple, Asked] = {}
    for _ in range(1 if count is None else LAPS):
        for name in rng.permutation(list(makers)):
            if len(found) == count:
                break
            asked = makers[name](seen, rng)
            if asked is not None:
                found.setdefault(asked.key, asked)
    return tuple(say(asked, rng) for asked in found.values())


def pick(rng: np.random.Generator, options: list) -> object | None:
    return options[rng.integers(len(options))] if options else None


# What rooms seldom show is asked about more often, so that answers come out even.
_COUNT_WEIGHTS = {0: 0.8, 1: 1.0, 2: 1.9, 3: 5.0, 4: 14.0, 5: 40.0}
_SHAPE_WEIGHTS = {'table': 1.8, 'sofa': 2.5, 'lamp': 1.6, 'chair': 0.9}
_DISTANCE_WEIGHTS = {'2': 1.3, '3': 0.8, '4': 0.7, '5': 2.0}


def _pick_by_weight(rng: np.random.Generator, options: list, weights: dict) -> object:
    shares = np.array([weights.get(option, 1.0) for option in options])
    return options[int(rng.choice(len(options), p=shares / shares.sum()))]


def existence(seen: Seen, rng: np.random.Generator) -> Asked | None:
    chosen = pick(rng, list(seen.clear))
    if chosen is None:
        return None
    thing = seen.objects[chosen]
    if rng.random() < 0.5:
        return Asked('existence', 'yes', (one(thing.name),), (chosen,))
    # The absent one borrows a present shape or colour, so that seeing half of it does not help.
    present = {other.name for other in seen.objects}
    if rng.random() < 0.5:
        absent = [f'{c} {thing.shape}' for c in COLOURS]
    else:
        absent = [f'{thing.colour} {s}' for s in SHAPES]
    name = pick(rng, [n for n in absent if n not in present])
    return None if name is None else Asked('existence', 'no', (one(name),), ())


def counting(seen: Seen, rng: np.random.Generator) -> Asked | None:
    by_count: dict[int, list[tuple[str, tuple]]] = {}
    subjects = [('shape', s, plural(s)) for s in COUNTABLE]
    noun = ('things', 'objects')[rng.integers(2)]
    subjects += [('colour', c, f'{c} {noun}') for c in COLOURS]
    for key, value, words in subjects:
        found = seen.of(**{key: value})
        if found is not None and len(found) <= THRESHOLDS.max_count:
            by_count.setdefault(len(found), []).append((words, tuple(found)))
    if not by_count:
        return None
    count = _pick_by_weight(rng, sorted(by_count), _COUNT_WEIGHTS)
    words, evidence = pick(rng, by_count[count])
    return Asked('counting', str(count), (words,), evidence)


def colour(seen: Seen, rng: np.random.Generator) -> Asked | None:
    options = [f[0] for s in SHAPES if (f := seen.of(shape=s)) and len(f) == 1]
    chosen = pick(rng, options)
    if chosen is None:
        return None
    thing = seen.objects[chosen]
    return Asked('colour', thing.colour, (thing.shape,), (chosen,))


def shape(seen: Seen, rng: np.random.Generator) -> Asked | None:
    options = {}
    for colour in COLOURS:
        found = seen.of(colour=colour)
        if found and len(found) == 1:
            options.setdefault(seen.objects[found[0]].shape, found[0])
    if not options:
        return None
    chosen = options[_pick_by_weight(rng, list(options), _SHAPE_WEIGHTS)]
    thing = seen.objects[chosen]
    return Asked('shape', thing.shape, (thing.colour,), (chosen,))


def pairs(seen: Seen, fits: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    return [(a, b) for a in seen.clear for b in seen.clear if a != b and fits(a, b)]


def _nearer(seen: SeenView, rng: np.random.Generator) -> Asked | None:
    gap = THRESHOLDS.nearer_gap_m
    pair = pick(
        rng,
        pairs(
            seen,
            lambda a, b: (
                seen.nearest_m[b] - seen.nearest_m[a] >= gap
                and seen.centre_m[b] - seen.centre_m[a] >= gap
            ),
        ),
    )
    if pair is None:
        return None
    answer = seen.objects[pair[0]].name
    shown = pair if rng.random() < 0.5 else pair[::-1]
    names = tuple(seen.objects[i].name for i in shown)
    return Asked('nearer', answer, names, pair)


def _left_right(seen: SeenView, rng: np.random.Generator) -> Asked | None:
    gap = THRESHOLDS.side_gap * seen.width
    pair = pick(rng, pairs(seen, lambda a, b: abs(seen.middle_u[a] - seen.middle_u[b]) >= gap))
    if pair is None:
        return None
    a, b = pair
    answer = 'left' if seen.middle_u[a] < seen.middle_u[b] else 'right'
    return Asked('left_right', answer, (seen.objects[a].name, seen.objects[b].name), pair)


def on_under(seen: Seen, rng: np.random.Generator) -> Asked | None:
    support = ('on', 'under')[rng.integers(2)]
    options = [
        i
        for i in seen.clear
        if seen.objects[i].support == support and seen.objects[i].host in seen.clear
    ]
    chosen = pick(rng, options)
    if chosen is None:
        return None
    thing = seen.objects[chosen]
    names = (thing.name, seen.objects[thing.host].name)
    return Asked('on_under', support, names, (chosen, thing.host))


def size(seen: Seen, rng: np.random.Generator) -> Asked | None:
    size = ('small', 'large')[rng.integers(2)]
    chosen = pick(rng, [i for i in seen.clear if seen.objects[i].size_name == size])
    if chosen is None:
        return None
    return Asked('size', size, (seen.objects[chosen].name,), (chosen,))


def _distance(seen: SeenView, rng: np.random.Generator) -> Asked | None:
    by_answer: dict[str, list[int]] = {}
    for i in seen.clear:
        if seen.objects[i].shape in SIMPLE_SHAPES:
            answer = distance_answer(seen.nearest_m[i])
            if answer is not None:
                by_answer.setdefault(answer, []).append(i)
    if not by_answer:
        return None
    answer = _pick_by_weight(rng, sorted(by_answer), _DISTANCE_WEIGHTS)
    chosen = pick(rng, by_answer[answer])
    return Asked('distance', answer, (seen.objects[chosen].name,), (chosen,))


def distance_answer(distance_m: float) -> str | None:
    """A distance in words on the grid of THRESHOLDS; None when it is between two grid values."""
    step = THRESHOLDS.distance_step_m
    nearest = round(distance_m / step) * step
    if nearest <= 0 or abs(distance_m - nearest) > THRESHOLDS.distance_tolerance_m:
        return None
    return f'{nearest:g}'


def _floor(seen: SeenView, rng: np.random.Generator) -> Asked | None:
    return Asked('floor', seen.room, (), ())


def state(seen: Seen, rng: np.random.Generator) -> Asked | None:
    state = ('upright', 'fallen')[rng.integers(2)]
    options = [i for i in seen.clear if seen.objects[i].state == state and _may_fall(seen, i)]
    chosen = pick(rng, options)
    if chosen is None:
        return None
    return Asked('state', state, (seen.objects[chosen].name,), (chosen,))


def _may_fall(seen: Seen, i: int) -> bool:
    thing = seen.objects[i]
    return thing.shape in FALLEN_TILT_DEG and thing.support == 'floor'


def function(seen: Seen, rng: np.random.Generator) -> Asked | None:
    answer = ('yes', 'no')[rng.integers(2)]
    options = []
    for use, shapes in USES.items():
        found = [seen.of(shape=shape) for shape in shapes]
        if answer == 'yes' and any(found):
            options.append((use, tuple(i for some in found if some for i in some)))
        elif answer == 'no' and found == [[]] * len(shapes):
            options.append((use, ()))
    chosen = pick(rng, options)
    return None if chosen is None else Asked('function', answer, (chosen[0],), chosen[1])


VIEW_MAKERS: dict[str, Maker] = {
    'existence': existence,
    'counting': counting,
    'colour': colour,
    'shape': shape,
    'nearer': _nearer,
    'left_right': _left_right,
    'on_under': on_under,
    'size': size,
    'distance': _distance,
    'floor': _floor,
    'state': state,
    'function': function,
}
