"""The tables of a report: scores, differences, costs, categories, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tosa_ros.errors import printable

LONGEST_CELL = 2000  # characters
Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def main_scores(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Each method's score by one metric: the first one that all methods have.

    Where none is shared, the first method's main metric, of those that have it.
    """
    scores = {
        label: {score['metric']: score for score in method['scores']}
        for label, method in results['methods'].items()
    }
    first = list(next(iter(scores.values())))
    shared = [name for name in first if all(name in by_name for by_name in scores.values())]
    metric = (shared or first)[0]
    return {label: by_name[metric] for label, by_name in scores.items() if metric in by_name}


def against_first(results: Mapping[str, Any]) -> tuple[str, dict[str, Mapping[str, Any]]]:
    """The first method, and the paired differences of others to it, by label."""
    first = next(iter(results['methods']))
    pairs = results.get('differences', ())
    return first, {one['label']: one for one in pairs if one['against'] == first}


def score_table(results: Mapping[str, Any]) -> Table:
    """A row a method, a column a metric; beside the main one, the paired difference and its p."""
    methods = results['methods']
    metrics = list(
        dict.fromkeys(s['metric'] for method in methods.values() for s in method['scores'])
    )
    first, gaps = against_first(results)
    rows = []
    for label, method in methods.items():
        by_name = {score['metric']: score for score in method['scores']}
        answered = f'{method["answered"]}/{results["questions"]}'
        tokens = _formatted(method['cost']['tokens_after'], '.0f')
        scores = [_percent(by_name.get(name)) for name in metrics]
        if gaps:
            scores[1:1] = _gap(gaps.get(label))
        rows.append([label, answered, tokens, *scores])
    heads = [*metrics[:1], *([f'against {first}', 'p'] if gaps else []), *metrics[1:]]
    return ['method', 'answered', 'tokens', *heads], rows


def difference_table(differences: Sequence[Mapping[str, Any]]) -> Table:
    """A row a pair of methods: percentage points, and on how many questions which is better."""
    rows = [
        [
            f'{one["label"]} against {one["against"]}',
            f'{one["points"]:+.1f}',
            '{:+.1f} to {:+.1f}'.format(*one['interval']),
            f'+{one["better"]} -{one["worse"]}',
            f'{one["p"]:.2g}',
        ]
        for one in differences
    ]
    return ['methods', 'difference', '95 %', 'questions', 'p'], rows


def cost_table(results: Mapping[str, Any]) -> Table:
    """Tokens, milliseconds and operations, as far as they are known, a row a method."""
    methods = results['methods'].values()
    names = (
        ('tokens before', 'tokens_before', '.0f'),
        ('tokens after', 'tokens_after', '.0f'),
        ('vision passes', 'vision_passes', 'd'),
        ('vision ms/frame', 'vision_ms_per_frame', '.1f'),
        ('vision ms', 'vision_ms', '.1f'),
        ('prefill ms', 'prefill_ms', '.1f'),
        ('decode ms', 'decode_ms', '.1f'),
        ('GFLOPs', 'gflops', '.2f'),
    )
    names = [one for one in names if any(m['cost'].get(one[1]) is not None for m in methods)]
    rows = [
        [
            label,
            *(_formatted(method['cost'].get(key), form) for _, key, form in names),
            _spatial(method),
        ]
        for label, method in results['methods'].items()
    ]
    return ['method', *(name for name, _, _ in names), 'spatial'], rows


def latency_table(live: Mapping[str, Any]) -> Table:
    """Milliseconds of the running nodes, a row a stage."""
    rows = [
        [what, *(format(value, '.1f') for value in values)]
        for what, values in live['latency_ms'].items()
    ]
    return ['', 'median', '95 %'], rows


def category_table(results: Mapping[str, Any]) -> Table:
    """The main metric by category, a column a method, beside guessing where that is known."""
    guessing = results['guessing']
    mains = main_scores(results)
    categories = sorted({c for score in mains.values() for c in score['by_category']})
    rows = [
        [
            category or '(none)',
            *([_number(guessing.get(category))] if guessing else []),
            *(_number(score['by_category'].get(category)) for score in mains.values()),
        ]
        for category in categories
    ]
    if guessing:
        overall = [_number(score['overall']) for score in mains.values()]
        rows.append(['all', _number(guessing['all']), *overall])
    return ['category', *(['guessing'] if guessing else []), *mains], rows


def example_table(results: Mapping[str, Any]) -> Table:
    """Questions, what is right, and what each method said."""
    labels = list(results['methods'])
    rows = [
        [
            line(one['question']),
            line(one['answer']),
            *(line(one['said'][label]) for label in labels),
        ]
        for one in results['examples']
    ]
    return ['question', 'answer', *labels], rows


def _percent(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return '-'
    if score['interval_95'] is None:
        return _number(score['overall'])
    low, high = score['interval_95']
    return f'{score["overall"]:.1f} ({low:.1f} to {high:.1f})'


def _gap(difference: Mapping[str, Any] | None) -> list[str]:
    if difference is None:
        return ['', '']
    low, high = difference['interval']
    points = f'{difference["points"]:+.1f} ({low:+.1f} to {high:+.1f})'
    return [points, f'{difference["p"]:.2g}']


def line(value: Any) -> str:
    """Any value in one line."""
    text = ', '.join(map(str, value)) if isinstance(value, list) else str(value)
    return '-' if value is None else printable(text, LONGEST_CELL)


def percent(value: float | None) -> str:
    """A question's score."""
    return '-' if value is None else f'{value:.0f} %'


def _number(value: float | None) -> str:
    return _formatted(value, '.1f')


def _formatted(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def _spatial(method: Mapping[str, Any]) -> str:
    return ', '.join(f'{kind} {count}' for kind, count in method['cost']['spatial'].items())
