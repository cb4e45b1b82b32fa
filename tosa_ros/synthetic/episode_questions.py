"""Questions about a whole episode: what a camera saw on its way through one or more rooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tosa_ros.synthetic import questions
from tosa_ros.synthetic.asking import Seen
from tosa_ros.synthetic.phrases import Asked
from tosa_ros.synthetic.questions import Maker, pairs, pick


@dataclass(frozen=True, eq=False)
class SeenEpisode(Seen):
    """An episode's scene graph; `clear` is what is visible enough in at least one frame.

    first_clear, first_glimpse: the first frame in which an object is visible enough, and
    visible at all. rooms: names of the rooms the camera was in, in that order.
    """

    first_clear: dict[int, int]
    first_glimpse: dict[int, int]
    rooms: tuple[str, ...]


def _first_seen(seen: SeenEpisode, rng: np.random.Generator) -> Asked | None:
    pair = pick(rng, pairs(seen, lambda a, b: seen.first_clear[a] < seen.first_glimpse[b]))
    if pair is None:
        return None
    shown = pair if rng.random() < 0.5 else pair[::-1]
    names = tuple(seen.objects[i].name for i in shown)
    return Asked('first_seen', seen.objects[pair[0]].name, names, pair)


def _which_room(seen: SeenEpisode, rng: np.random.Generator) -> Asked | None:
    options = {}
    for i in rng.permutation(np.array(seen.clear, int)):
        options.setdefault(seen.objects[i].room, int(i))
    if len(seen.rooms) < 2 or not options:
        return None
    chosen = options[pick(rng, sorted(options))]
    thing = seen.objects[chosen]
    return Asked('which_room', thing.room, (thing.name,), (chosen,))


def _room_count(seen: SeenEpisode, rng: np.random.Generator) -> Asked | None:
    return Asked('room_count', str(len(seen.rooms)))


EPISODE_MAKERS: dict[str, Maker] = {
    'existence': questions.existence,
    'counting': questions.counting,
    'colour': questions.colour,
    'shape': questions.shape,
    'on_under': questions.on_under,
    'size': questions.size,
    'state': questions.state,
    'function': questions.function,
    'first_seen': _first_seen,
    'which_room': _which_room,
    'room_count': _room_count,
}
