"""The plot of score against tokens, and the numbers in it.

Methods that leave as many tokens would hide each other: each has its own marker and offset.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from tosa_ros.errors import MissingDependencyError, printable
from tosa_ros.evaluation.report.tables import against_first, main_scores

MARKERS = 'osD^vPX*<>hdp8H'
LINES = ('-', '--', '-.', ':')
OFFSET_POINTS = 5.0  # between neighbours, on paper
CROWDED = 0.03  # of the plot's width: so near, points are set apart
# Tokens, score, and the ends of its interval.
Points = list[tuple[float, float, float, float]]
NAME_CHARACTERS = 46  # in a line
SALT = 'tosa'  # of the SVG's ids, so that the same run gives the same file


def check_plotting() -> None:
    """Raises MissingDependencyError where no plot can be drawn: better before a run than after."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError('matplotlib', 'eval', "a report's plot") from error


def plot(results: Mapping[str, Any], form: str = 'png') -> bytes:
    """Each method's main score, with its interval, against its visual tokens a question.

    form: 'png' or 'svg'. Methods of one name that leave different tokens are joined by a line.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import ScaledTranslation

    figure = Figure(figsize=(7.5, 4.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds = _points(results)
    crowded = _crowded(kinds)
    for number, (kind, points) in enumerate(kinds.items()):
        place = crowded.index(kind) - (len(crowded) - 1) / 2 if kind in crowded else 0.0
        aside = ScaledTranslation(place * OFFSET_POINTS / 72, 0, figure.dpi_scale_trans)
        tokens, scores, lows, highs = map(np.array, zip(*points, strict=True))
        axes.errorbar(
            tokens,
            scores,
            # A score may be rounded past the end of its interval.
            [np.maximum(0, scores - lows), np.maximum(0, highs - scores)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle=LINES[number // 10 % len(LINES)],  # There are ten colours.
            color=f'C{number % 10}',
            capsize=3,
            label=_plain(kind),
            transform=axes.transData + aside,
        )
    _widen(axes, kinds)
    apart = ' (equal ones are set apart)' if crowded else ''
    axes.set(xlabel=f'visual tokens a question{apart}', ylabel=_metric(results))
    axes.grid(alpha=0.3)
    figure.legend(loc='outside right upper')
    stream = io.BytesIO()
    with matplotlib.rc_context({'svg.hashsalt': SALT}):
        figure.savefig(stream, format=form, dpi=130, metadata=_undated(form))
    return stream.getvalue()


def plot_csv(results: Mapping[str, Any]) -> str:
    """The numbers of the plot, and each method's paired difference to the first one."""
    first, differences = against_first(results)
    rows = []
    for label, score in main_scores(results).items():
        low, high = score['interval_95'] or ('', '')
        row = {
            'method': label,
            'tokens': results['methods'][label]['cost']['tokens_after'],
            'metric': score['metric'],
            'score': score['overall'],
            'low_95': low,
            'high_95': high,
            **dict.fromkeys(('against', 'difference', 'difference_low_95'), ''),
            **dict.fromkeys(('difference_high_95', 'p'), ''),
        }
        if gap := differences.get(label):
            low, high = gap['interval']
            row |= {'against': first, 'difference': gap['points'], 'p': gap['p']}
            row |= {'difference_low_95': low, 'difference_high_95': high}
        rows.append(row)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def can_be_plotted(results: Mapping[str, Any]) -> bool:
    """Whether there is a score, and a method whose tokens are known."""
    return bool(results['scored'] and _points(results))


def _points(results: Mapping[str, Any]) -> dict[str, Points]:
    """Kind of method -> (tokens, score, low, high) where tokens are known, in their order."""
    kinds: dict[str, Points] = {}
    for label, score in main_scores(results).items():
        overall = score['overall']
        low, high = score['interval_95'] or (overall, overall)
        tokens = results['methods'][label]['cost']['tokens_after']
        if tokens is None:
            continue
        kinds.setdefault(label.partition('-')[0], []).append((tokens, overall, low, high))
    return {kind: sorted(points) for kind, points in kinds.items()}


def _metric(results: Mapping[str, Any]) -> str:
    """The main metric's name, in lines: a judge and its settings make it long."""
    name = next(iter(main_scores(results).values()))['metric']
    return '\n'.join(textwrap.wrap(_plain(name), NAME_CHARACTERS)[:4])


def _plain(text: str) -> str:
    """Foreign words that are no formula to matplotlib."""
    return printable(text).replace('$', r'\$')


def _crowded(kinds: Mapping[str, Points]) -> list[str]:
    """Kinds with a point where another kind has one."""
    placed = [(kind, point[0]) for kind, points in kinds.items() for point in points]
    tokens = [one for _, one in placed]
    near = CROWDED * (max(tokens) - min(tokens))
    return [
        kind
        for kind, points in kinds.items()
        if any(
            other != kind and abs(there - point[0]) <= near
            for point in points
            for other, there in placed
        )
    ]


def _widen(axes: Any, kinds: Mapping[str, Points]) -> None:
    """Leaves room around the points, which the offset hides from matplotlib's own scaling."""
    points = [point for of_kind in kinds.values() for point in of_kind]
    tokens = [point[0] for point in points]
    ends = [end for _, score, low, high in points for end in (min(low, score), max(high, score))]
    for values, limit in ((tokens, axes.set_xlim), (ends, axes.set_ylim)):
        low, high = min(values), max(values)
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        limit(low - margin, high + margin)


def _undated(form: str) -> dict[str, None]:
    return {'Date': None} if form == 'svg' else {}
