"""The merging methods and every setting that they have: the one place that both stand.

A new method is a dataclass of `merging` and a row in METHODS; a new setting is a field of it and
a row in MERGING. The dataclasses take defaults and checks from here, the command line, the nodes
and the launch files their options. Another package adds both by entry points.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tosa_ros.errors import MergingError
from tosa_ros.registry import Registry
from tosa_ros.settings.kinds import Choice, Either, Flag, Kind, Maybe, Number, Numbers
from tosa_ros.settings.setting import Setting

_OWN = {
    'tosa': 'tosa_ros.merging.methods:ToSA',
    'tome': 'tosa_ros.merging.methods:ToMe',
    'tofu': 'tosa_ros.merging.methods:ToFu',
    'pitome': 'tosa_ros.merging.methods:PiToMe',
    'none': 'tosa_ros.merging.methods:NoMerging',
}
METHODS: Registry[Any] = Registry(
    'merging method',
    'tosa_ros.methods',
    _OWN,
    base='tosa_ros.merging.methods:MergingMethod',
    error=MergingError,
)
ALPHA_SCHEDULES = ('increase', 'uniform', 'decrease', 'spatial')
MERGE_AT = ('most', 'few', 'every')
HEADS = ('each', 'mean')
TARGETS_AT = ('auto', 'alternate')
SPATIAL_KINDS = ('auto', 'metric', 'levels')
WHERE = ('auto', 'tower', 'output')
# This package's methods that merge.
ALL = tuple(name for name in _OWN if name != 'none')


class Inflected(Kind):
    """(r, inflect): a whole number, and a fraction whose point marks it as no list of two."""

    metavar = property(lambda self: 'N,X')

    def checked(self, value: Any) -> tuple[int, float]:
        r, inflect = value
        if not isinstance(value, tuple) or not isinstance(inflect, float):
            raise TypeError
        return Number(0, whole=True).checked(r), Number(-1, 1).checked(inflect)

    def parse(self, text: str) -> tuple[int, float]:
        r, inflect = text.split(',')
        return self.checked((int(r), float(inflect)))

    def text(self, value: Any) -> str:
        return f'{int(value[0])},{float(value[1])!r}'


MERGING = (
    Setting(
        'keep',
        0.25,
        Number(0, 1, above=True, what='a fraction of tokens to keep'),
        'Fraction of the image tokens left after merging.',
        methods=ALL,
    ),
    Setting(
        'r',
        None,
        Maybe(
            Either(
                (
                    Number(0, whole=True),
                    Numbers(Number(0, whole=True)),
                    Inflected(),
                ),
                'tokens to remove a layer: a number, 0 or more, a list of them, or (r, inflect) '
                'with inflect a float in -1..1',
            ),
            'keep says it',
        ),
        'Tokens to remove in a layer, instead of keep.',
        methods=ALL,
    ),
    Setting(
        'proportional',
        True,
        Flag(),
        'Weight each token in the attention by the patches it stands for. Off only for encoders '
        'trained by masked auto-encoding.',
        methods=ALL,
    ),
    Setting(
        'merge_at',
        'most',
        Either(
            (Choice(MERGE_AT), Numbers(Number(0, whole=True), rising=True)),
            f'one of {", ".join(MERGE_AT)}, or a rising list of layers, 0 the first',
        ),
        'Layers that merge: most (all but the first), few (more tokens at a time: faster), '
        'every (in equal numbers), or a list such as 2,6,12.',
        methods=ALL,
    ),
    Setting(
        'where',
        'auto',
        Choice(WHERE),
        'Where tokens merge: tower (between its layers, which saves vision time too), output '
        '(behind the projector, before the language model: every model can), or auto: in the '
        'tower of models that read its patches as they are, else at the output.',
        methods=ALL,
    ),
    Setting(
        'alpha',
        0.98,
        Either(
            (Choice(ALPHA_SCHEDULES), Number(0, 1), Numbers(Number(0, 1))),
            f'one of {", ".join(ALPHA_SCHEDULES)}, or a weight of the semantic score in 0..1 for '
            'all layers, or a list of weights, one a layer',
        ),
        "ToSA's weight of appearance against space: a number, or by layer: increase starts from "
        'space.',
        methods=('tosa',),
    ),
    Setting(
        'spatial',
        'auto',
        Choice(SPATIAL_KINDS),
        "ToSA's spatial tokens: metric (3-D surfaces), levels (relative depth), or auto: metric "
        'if the frame has metric depth and intrinsics.',
        methods=('tosa',),
    ),
    Setting(
        'length_scale_m',
        0.15,
        Number(0, above=True),
        'Distance from a surface over which metric similarity falls.',
        unit='m',
        methods=('tosa',),
    ),
    Setting(
        'heads',
        'each',
        Choice(HEADS),
        'How keys are compared: each head by itself, or the mean of all heads.',
        methods=('tosa',),
    ),
    Setting(
        'ward',
        0.5,
        Number(0),
        'How much the sizes of two tokens count against merging them; 0 is not at all, 1 is '
        "Ward's criterion.",
        methods=('tosa',),
    ),
    Setting(
        'targets_at',
        'auto',
        Choice(TARGETS_AT),
        'Tokens that others merge into: auto (fewer if a third or more must go) or '
        'alternate (every second one).',
        methods=('tosa', 'tome', 'tofu'),
    ),
    Setting(
        'prune_layers',
        None,
        Maybe(Number(0, whole=True), 'half of them'),
        'Layers, from the first, in which ToFu drops tokens instead of fusing them.',
        methods=('tofu',),
    ),
    Setting(
        'margin',
        0.9,
        Number(-1, 1),
        "PiToMe's margin of similarity in the first layer: 0.9 suits CLIP-like towers, 0.75 DeiT "
        'and MAE.',
        methods=('pitome',),
    ),
)
SETTINGS: Registry[Setting] = Registry(
    'setting',
    'tosa_ros.settings',
    {row.name: row for row in MERGING},
    base='tosa_ros.settings:Setting',
    error=MergingError,
)
METHOD = Setting('method', 'tosa', Choice(METHODS), 'The merging method.')


def default(name: str) -> Any:
    """The default of a setting, for the field of that name."""
    return SETTINGS[name].default


def check_fields(method: Any) -> None:
    """Raises MergingError unless each field that has a row here has an allowed value."""
    for field in fields(method):
        if field.name in SETTINGS:
            value = getattr(method, field.name)
            if value is not None or field.default is not None:
                value = SETTINGS[field.name].checked(value, MergingError)
                object.__setattr__(method, field.name, value)
