"""Questions made from labels, depth and colour, each with one right answer.

Every kind asks only where the answer is clear: things large enough, distances apart, colours
pure. What is unclear is not asked. `weighted` then draws questions so that no answer is likelier
than another for the same kind and the same thing, as far as the frames allow.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.real.nyu import CLASSES, Asked, Scene

KINDS = ('nearer', 'side', 'half', 'how many', 'is there', 'colour', 'how far')
NOT_THINGS = {'wall', 'floor', 'ceiling', 'other structure', 'other furniture', 'other or none'}
THINGS = tuple(name for name in CLASSES if name not in NOT_THINGS)
PLURAL = {'blinds', 'shelves', 'clothes', 'books', 'paper'}
# Of these, two that touch are rare: otherwise one region is not one thing.
COUNTED = {
    'picture': 'pictures', 'window': 'windows', 'door': 'doors', 'lamp': 'lamps',
    'towel': 'towels', 'bag': 'bags', 'sink': 'sinks', 'mirror': 'mirrors', 'chair': 'chairs',
    'box': 'boxes', 'pillow': 'pillows', 'night stand': 'night stands',
    'television': 'televisions', 'person': 'persons',
}  # fmt: skip
STRIDE = 2  # every second pixel is looked at
LARGE, SOLID_SHARE, SPECK_SHARE = 0.01, 0.003, 0.0002
NEARER_RATIO, NEARER_GAP_M = 1.2, 0.3
APART = 0.12  # of the picture's width
FARTHEST_M = 6
COLOURS = (
    'black', 'white', 'gray', 'red', 'orange', 'brown', 'yellow', 'green', 'blue', 'purple', 'pink'
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A question, and the thing or things that it is about (balance is kept for each)."""

    asked: Asked
    about: str

    @property
    def group(self) -> tuple[str, str]:
        return self.asked.kind, self.about


def made(scene: Scene, *, metres: bool = True) -> list[Made]:
    """All questions that can be asked of a scene, in a fixed order.

    metres: ask how far things are, which needs the whole frame: a crop looks nearer than it is.
    """
    small = _Small(scene)
    asked = [*_nearer(small), *_sides(small), *_halves(small), *_counts(small)]
    asked += [*_existence(small), *_colours(small)]
    return asked + (list(_distances(small)) if metres else [])


@dataclass(frozen=True, eq=False)
class Balance:
    """Of a whole split, by kind, thing and answer, where a thing's answers are not all alike.

    counts: how often the answer occurs. shares: how much of its kind's answers are like it.
    """

    counts: dict[tuple[str, str, str], int]
    shares: dict[tuple[str, str, str], float]

    @classmethod
    def of(cls, every: Iterable[Made]) -> Balance:
        counts = Counter((*one.group, one.asked.answer) for one in every)
        answers = Counter((kind, about) for kind, about, _ in counts)
        told = {key: n for key, n in counts.items() if answers[key[:2]] > 1}
        kinds, alike = Counter(), Counter()
        for (kind, _, answer), n in told.items():
            kinds[kind] += n
            alike[kind, answer] += n
        return cls(told, {key: alike[key[0], key[2]] / kinds[key[0]] for key in told})


def weighted(
    some: Sequence[Made], balance: Balance, count: int, rng: np.random.Generator
) -> list[Asked]:
    """`count` of a scene's questions, kinds in turn, rare answers as readily as common ones.

    balance: of the whole split. A thing whose answers are all alike in the split can be answered
    blindly and is not asked about; an answer that outweighs all others of its kind is thinned
    until it does not.
    """
    by_kind: dict[str, list[Made]] = {}
    for one in some:
        share = balance.shares.get((*one.group, one.asked.answer), 0.0)
        if share and rng.random() * share < 1 - share:
            by_kind.setdefault(one.asked.kind, []).append(one)
    queues = {}
    for kind, ones in by_kind.items():
        weight = np.array([1 / balance.counts[(*one.group, one.asked.answer)] for one in ones])
        answers = np.array([one.asked.answer for one in ones])
        weight /= [weight[answers == answer].sum() for answer in answers]
        order = rng.choice(len(ones), len(ones), replace=False, p=weight / weight.sum())
        queues[kind] = [ones[i].asked for i in order]
    kinds = list(rng.permutation(sorted(queues)))
    turns = itertools.zip_longest(*(queues[kind] for kind in kinds))
    chosen = (one for turn in turns for one in turn if one is not None)
    return list(itertools.islice(chosen, count))


class _Small:
    """Every second pixel of a scene, and the regions of the things in it."""

    def __init__(self, scene: Scene) -> None:
        self.rgb = scene.rgb[::STRIDE, ::STRIDE]
        self.depth_m = scene.depth_m[::STRIDE, ::STRIDE]
        self.labels = scene.labels[::STRIDE, ::STRIDE]
        self.share = np.bincount(self.labels.ravel(), minlength=len(CLASSES)) / self.labels.size
        self.large = [i for i, name in enumerate(CLASSES)
                      if name in THINGS and self.share[i] >= LARGE]  # fmt: skip
        self.columns = {i: self._quantiles(np.nonzero(self.labels == i)[1]) for i in self.large}
        self.depths = {i: self._quantiles(self.depth_m[self.labels == i]) for i in self.large}

    @staticmethod
    def _quantiles(values: np.ndarray) -> np.ndarray:
        """At 10, 25, 50, 75 and 90 percent; NaN where half of the values are unknown."""
        known = values[np.isfinite(values)]
        if 2 * len(known) < len(values):
            return np.full(5, np.nan)
        return np.percentile(known, (10, 25, 50, 75, 90))


def _nearer(small: _Small) -> Iterator[Made]:
    for first, second in itertools.combinations(small.large, 2):
        one, other = small.depths[first], small.depths[second]
        near, far, which = (one, other, first) if one[2] < other[2] else (other, one, second)
        apart = far[2] > NEARER_RATIO * near[2] and far[2] > near[2] + NEARER_GAP_M
        if apart and near[3] < far[1]:  # False for NaN
            for a, b in ((first, second), (second, first)):
                text = f'which is nearer, the {CLASSES[a]} or the {CLASSES[b]}?'
                yield Made(Asked('nearer', text, CLASSES[which]), _pair(first, second))


def _sides(small: _Small) -> Iterator[Made]:
    width = small.labels.shape[1]
    for first, second in itertools.permutations(small.large, 2):
        one, other = small.columns[first], small.columns[second]
        if abs(one[2] - other[2]) < APART * width:
            continue
        left = one[2] < other[2]
        if (one[4] < other[0]) if left else (other[4] < one[0]):
            verb = _verb(first)
            text = f'{verb} the {CLASSES[first]} left or right of the {CLASSES[second]}?'
            yield Made(Asked('side', text, 'left' if left else 'right'), _pair(first, second))


def _halves(small: _Small) -> Iterator[Made]:
    width = small.labels.shape[1]
    for i in small.large:
        place = small.columns[i] / width
        if place[4] < 0.5 or place[0] > 0.5:
            text = f'in which half of the picture {_verb(i)} the {CLASSES[i]}?'
            yield Made(Asked('half', text, 'left' if place[4] < 0.5 else 'right'), CLASSES[i])


def _counts(small: _Small) -> Iterator[Made]:
    for i, name in enumerate(CLASSES):
        if name in COUNTED and small.share[i] >= SOLID_SHARE:
            count = _solid_regions(small.labels == i)
            if count is not None:
                text = f'how many {COUNTED[name]} are there?'
                yield Made(Asked('how many', text, str(count)), name)


def _solid_regions(mask: np.ndarray) -> int | None:
    """How many regions; None where one is a speck, or two may be one or one may be two."""
    found, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    shares = stats[1:, cv2.CC_STAT_AREA] / mask.size
    if not found - 1 or found - 1 > 6:
        return None
    if ((shares > SPECK_SHARE) & (shares < SOLID_SHARE)).any():
        return None
    kept = 1 + np.flatnonzero(shares >= SOLID_SHARE)
    gap = max(2, round(0.012 * mask.shape[1]))
    around = np.zeros(mask.shape, np.uint8)
    for i in kept:
        region = (labels == i).astype(np.uint8)
        points = cv2.findNonZero(region)
        hull = cv2.contourArea(cv2.convexHull(points))
        if region.sum() < 0.7 * hull:
            return None
        wider = cv2.dilate(region, np.ones((2 * gap + 1, 2 * gap + 1), np.uint8))
        if (around & wider).any():
            return None
        around |= wider
    return len(kept) or None


def _existence(small: _Small) -> Iterator[Made]:
    for i, name in enumerate(CLASSES):
        if name in THINGS and (small.share[i] >= LARGE / 2 or not small.share[i]):
            text = f'are there {name}?' if name in PLURAL else f'is there a {name}?'
            answer = 'yes' if small.share[i] else 'no'
            yield Made(Asked('is there', text, answer), name)


def _colours(small: _Small) -> Iterator[Made]:
    names = colour_names(small.rgb)
    for i, name in enumerate(CLASSES):
        if small.share[i] < LARGE or name.startswith('other'):
            continue
        # -1, no clear colour, counts against all.
        shares = np.bincount(names[small.labels == i] + 1, minlength=len(COLOURS) + 1)
        shares = shares / shares.sum()
        best, second = np.argsort(-shares[1:])[:2]
        if shares[1 + best] > 0.55 and shares[1 + second] < 0.2:
            text = f'what color {_verb(i)} the {name}?'
            yield Made(Asked('colour', text, COLOURS[best]), name)


def colour_names(rgb: np.ndarray) -> np.ndarray:
    """(H, W) int: the colour's number in COLOURS, -1 for what lies between two names."""
    hsv = cv2.cvtColor(np.ascontiguousarray(rgb).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    names = np.full(hue.shape, -1)

    def put(name: str, where: np.ndarray) -> None:
        names[where & (names < 0)] = COLOURS.index(name)

    put('black', value < 0.18)
    pale = saturation < 0.17
    put('white', pale & (value > 0.72))
    put('gray', pale & (value > 0.25) & (value < 0.62))
    vivid = (saturation > 0.28) & (value > 0.22)
    warm = vivid & ((hue < 48) | (hue > 345))
    put('brown', warm & (hue < 45) & (hue > 8) & (value < 0.6) & (saturation < 0.8))
    put('red', warm & ((hue < 12) | (hue > 345)) & (saturation > 0.5))
    put('orange', warm & (hue > 16) & (hue < 42) & (saturation > 0.6) & (value > 0.68))
    put('yellow', vivid & (hue > 48) & (hue < 68) & (value > 0.5))
    put('green', vivid & (hue > 80) & (hue < 165))
    put('blue', vivid & (hue > 190) & (hue < 255))
    put('purple', vivid & (hue > 262) & (hue < 305))
    put('pink', vivid & (hue > 315) & (hue < 345) & (value > 0.5))
    return names


def _distances(small: _Small) -> Iterator[Made]:
    for i in small.large:
        low, _, middle, _, high = small.depths[i]
        metres = round(middle) if np.isfinite(middle) else 0
        if 1 <= metres <= FARTHEST_M and abs(middle - metres) < 0.35 and high - low < 0.8 * middle:
            text = f'how many metres away {_verb(i)} the {CLASSES[i]}?'
            yield Made(Asked('how far', text, str(metres)), CLASSES[i])


def _verb(i: int) -> str:
    return 'are' if CLASSES[i] in PLURAL else 'is'


def _pair(first: int, second: int) -> str:
    return ' and '.join(sorted((CLASSES[first], CLASSES[second])))
