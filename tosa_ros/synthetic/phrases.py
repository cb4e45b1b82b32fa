"""The words of the tiny world's questions: a small closed language, a few wordings a question.

Question makers (`questions`, `episode_questions`) fill in names and decide what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tosa_ros.synthetic.asking import Question

# OpenEQA's category of every question type.
VIEW_CATEGORIES = {
    'existence': 'object recognition',
    'counting': 'object recognition',
    'colour': 'attribute recognition',
    'shape': 'object recognition',
    'nearer': 'spatial understanding',
    'left_right': 'spatial understanding',
    'on_under': 'object localization',
    'size': 'attribute recognition',
    'distance': 'spatial understanding',
    'floor': 'attribute recognition',
    'state': 'object state recognition',
    'function': 'functional reasoning',
}
EPISODE_CATEGORIES = {
    'existence': 'object recognition',
    'counting': 'object recognition',
    'colour': 'attribute recognition',
    'shape': 'object recognition',
    'on_under': 'object localization',
    'size': 'attribute recognition',
    'state': 'object state recognition',
    'function': 'functional reasoning',
    'first_seen': 'spatial understanding',
    'which_room': 'object localization',
    'room_count': 'spatial understanding',
}
QUESTION_TYPES = tuple(VIEW_CATEGORIES)
EPISODE_QUESTION_TYPES = tuple(EPISODE_CATEGORIES)

PHRASES = {
    'existence': (
        'is there {0}?',
        'can you see {0}?',
        'do you see {0} here?',
    ),
    'counting': (
        'how many {0} are there?',
        'how many {0} can you see?',
        'count the {0}.',
    ),
    'colour': (
        'what colour is the {0}?',
        'what color is the {0}?',
        'which colour does the {0} have?',
    ),
    'shape': (
        'what is the {0} thing?',
        'what is the {0} object?',
        'what kind of thing is {0}?',
    ),
    'nearer': (
        'which is nearer, the {0} or the {1}?',
        'which is closer, the {0} or the {1}?',
        'what is closer to the camera, the {0} or the {1}?',
    ),
    'left_right': (
        'is the {0} left or right of the {1}?',
        'is the {0} to the left or to the right of the {1}?',
    ),
    'on_under': (
        'is the {0} on or under the {1}?',
        'where is the {0}, on or under the {1}?',
    ),
    'size': (
        'is the {0} small or large?',
        'what size is the {0}, small or large?',
    ),
    'distance': (
        'how many metres away is the {0}?',
        'how far is the {0} from the camera in metres?',
        'how far away is the {0}?',
    ),
    'floor': (
        'what is the floor made of?',
        'which floor does this room have?',
    ),
    'state': (
        'is the {0} upright or fallen?',
        'has the {0} fallen or is it upright?',
    ),
    'function': (
        'is there furniture to {0}?',
        'can you see furniture to {0}?',
    ),
    'first_seen': (
        'which came into view first, the {0} or the {1}?',
        'what was seen first, the {0} or the {1}?',
    ),
    'which_room': (
        'which floor does the room with the {0} have?',
        'what is the floor made of in the room with the {0}?',
    ),
    'room_count': (
        'how many rooms were visited?',
        'how many rooms did the camera see from inside?',
    ),
}


@dataclass(frozen=True)
class Asked:
    """What is asked before it is worded: a question type, its answer, names and evidence."""

    type: str
    answer: str
    names: tuple[str, ...] = ()
    evidence: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """The same for two wordings, or two orders of names, of one question."""
        return self.type, *sorted(self.names)


def say(asked: Asked, rng: np.random.Generator) -> Question:
    """A question in one of its wordings."""
    phrases = PHRASES[asked.type]
    text = phrases[rng.integers(len(phrases))].format(*asked.names)
    return Question(
        text=text[0].upper() + text[1:],
        answer=asked.answer,
        type=asked.type,
        category=(VIEW_CATEGORIES | EPISODE_CATEGORIES)[asked.type],
        evidence=tuple(int(i) for i in asked.evidence),
        options=_OPTIONS.get(asked.type) or _named_options(asked),
    )


_YES_NO = ('yes', 'no')
_OPTIONS = {
    'existence': _YES_NO,
    'function': _YES_NO,
    'left_right': ('left', 'right'),
    'on_under': ('on', 'under'),
    'size': ('small', 'large'),
    'state': ('upright', 'fallen'),
}


def _named_options(asked: Asked) -> tuple[str, ...]:
    return asked.names if asked.answer in asked.names else ()


def one(name: str) -> str:
    return f'an {name}' if name[0] in 'aeiou' else f'a {name}'


def plural(shape: str) -> str:
    return {'box': 'boxes'}.get(shape, f'{shape}s')
