"""A run's report for people: Markdown, the same as HTML, and a plot of score against tokens."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import MissingDependencyError, printable
from tosa_ros.files import write_bytes, write_text

PLOT = 'plot.png'
LONGEST_CELL = 2000  # characters
Table = tuple[Sequence[str], Sequence[Sequence[str]]]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }}
th, td {{ border-bottom: 1px solid #ccc; padding: .25rem .7rem; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100% }}
</style></head><body>
{body}
</body></html>
"""


def check_plotting() -> None:
    """Raises MissingDependencyError where no plot can be drawn: better before a run than after."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError('matplotlib', 'eval', "a report's plot") from error


def write_report(folder: Path, results: Mapping[str, Any]) -> None:
    """Writes report.md, report.html and plot.png of what `score_run` returned."""
    picture = plot(results) if results['scored'] else None
    if picture is not None:
        write_bytes(folder / PLOT, picture)
    title = f'{results["benchmark"]}: {results["questions"]} questions'
    parts = _parts(results)
    write_text(folder / 'report.md', _markdown(title, parts, picture))
    write_text(folder / 'report.html', _html(title, parts, picture))


def plot(results: Mapping[str, Any]) -> bytes:
    """PNG: each method's main score, with its interval, against its visual tokens a question."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines: dict[str, list[tuple[float, dict]]] = {}
    for label, method in results['methods'].items():
        kind = label.partition('-')[0]
        lines.setdefault(kind, []).append((method['cost']['tokens_after'], method['scores'][0]))
    for kind, points in lines.items():
        points.sort(key=lambda point: point[0])
        tokens = [point[0] for point in points]
        scores = [point[1]['overall'] for point in points]
        ends = [
            point[1]['interval_95'] or [score] * 2
            for point, score in zip(points, scores, strict=True)
        ]
        below = [max(0.0, score - low) for score, (low, _) in zip(scores, ends, strict=True)]
        above = [max(0.0, high - score) for score, (_, high) in zip(scores, ends, strict=True)]
        axes.errorbar(tokens, scores, [below, above], marker='o', capsize=3, label=kind)
    names = {method['scores'][0]['metric'] for method in results['methods'].values()}
    axes.set(xlabel='visual tokens a question', ylabel=', '.join(sorted(names)))
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, format='png', dpi=130)
    return stream.getvalue()


def score_table(results: Mapping[str, Any]) -> Table:
    """A row a method, a column a metric."""
    methods = results['methods']
    metrics = list(
        dict.fromkeys(s['metric'] for method in methods.values() for s in method['scores'])
    )
    rows = []
    for label, method in methods.items():
        by_name = {score['metric']: score for score in method['scores']}
        answered = f'{method["answered"]}/{results["questions"]}'
        tokens = _formatted(method['cost']['tokens_after'], '.0f')
        rows.append([label, answered, tokens, *(_percent(by_name.get(name)) for name in metrics)])
    return ['method', 'answered', 'tokens', *metrics], rows


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
    mains = {label: method['scores'][0] for label, method in results['methods'].items()}
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
            _line(one['question']),
            _line(one['answer']),
            *(_line(one['said'][label]) for label in labels),
        ]
        for one in results['examples']
    ]
    return ['question', 'answer', *labels], rows


def _parts(results: Mapping[str, Any]) -> list[tuple[str, Table | list[str]]]:
    """Headings with a table or lines each; an empty line list is left out."""
    scored = f'{results["scored"]} of {results["questions"]} questions have an answer'
    faults = [f'{what}: {why}' for what, why in results['not_evaluated'].items()]
    judge = [f'{label}: {why}' for label, why in results['judge_errors'].items()]
    settings = [f'{name}: {_line(value)}' for name, value in results['settings'].items()]
    pairs = results['differences']
    differences = difference_table(pairs) if pairs else []
    parts: list[tuple[str, Table | list[str]]] = [
        (f'Scores (percent, with the 95 % interval; {scored})', score_table(results)),
        ('Paired differences (percentage points; p uncorrected)', differences),
        ('Cost (means a question)', cost_table(results)),
        ('Not evaluated; its questions count as wrong', faults),
        *_live_parts(results['live']),
        ('Not judged', judge),
        ('Notes on the data', results['problems']),
        ('Settings', settings),
        (f'Answers (the first {len(results["examples"])})', example_table(results)),
    ]
    if results['scored']:
        main = next(iter(results['methods'].values()))['scores'][0]['metric']
        parts.insert(1, (f'By category: {main}', category_table(results)))
    return [(heading, part) for heading, part in parts if part]


def _live_parts(live: Mapping[str, Any] | None) -> list[tuple[str, Table | list[str]]]:
    if live is None:
        return []
    dropped, played = live['images_dropped'], live['images_played']
    frames = [
        f'{played} images played in {live["played_s"]:.1f} s, {live["images_encoded"]} encoded',
        f'{dropped} dropped ({100 * dropped / max(played, 1):.1f} %)',
    ]
    if live['asked_late']:
        frames.append(f'{live["asked_late"]} questions were asked late: too many waited')
    return [
        ('Latency of the running nodes (milliseconds)', latency_table(live)),
        ('Frames of the running nodes', frames),
    ]


def _markdown(title: str, parts: Sequence[tuple[str, Any]], picture: bytes | None) -> str:
    lines = [f'# {_escaped(title)}', '']
    if picture is not None:
        lines += [f'![score against tokens]({PLOT})', '']
    for heading, part in parts:
        lines += [f'## {_escaped(heading)}', '']
        table = isinstance(part, tuple)
        lines += markdown_table(part) if table else [f'- {_escaped(line)}' for line in part]
        lines.append('')
    return '\n'.join(lines)


def markdown_table(table: Table) -> list[str]:
    """The lines of a table, numbers to the right."""
    head, rows = table
    escaped = [[_escaped(cell) for cell in row] for row in (head, *rows)]
    rule = ['---', *['---:'] * (len(head) - 1)]
    return ['| ' + ' | '.join(row) + ' |' for row in (escaped[0], rule, *escaped[1:])]


def _escaped(text: str) -> str:
    """Somebody's words as one line of Markdown, without HTML, links, pictures or cells."""
    line = printable(text, LONGEST_CELL)
    return re.sub(r'([\\|<\[\]`])', r'\\\1', line)


def _html(title: str, parts: Sequence[tuple[str, Any]], picture: bytes | None) -> str:
    body = [f'<h1>{html.escape(title)}</h1>']
    if picture is not None:
        data = base64.b64encode(picture).decode()
        body.append(f'<img alt="score against tokens" src="data:image/png;base64,{data}">')
    for heading, part in parts:
        body.append(f'<h2>{html.escape(heading)}</h2>')
        if isinstance(part, tuple):
            head, rows = part
            body.append('<table>' + _html_row(head, 'th'))
            body += [_html_row(row, 'td') for row in rows]
            body.append('</table>')
        else:
            items = ''.join(f'<li>{html.escape(line)}</li>' for line in part)
            body.append(f'<ul>{items}</ul>')
    return _PAGE.format(title=html.escape(title), body='\n'.join(body))


def _html_row(cells: Sequence[str], tag: str) -> str:
    return '<tr>' + ''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells) + '</tr>'


def _percent(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return '-'
    if score['interval_95'] is None:
        return _number(score['overall'])
    low, high = score['interval_95']
    return f'{score["overall"]:.1f} ({low:.1f} to {high:.1f})'


def _line(value: Any) -> str:
    """Any value in one line."""
    return '-' if value is None else printable(str(value), LONGEST_CELL)


def _number(value: float | None) -> str:
    return _formatted(value, '.1f')


def _formatted(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def _spatial(method: Mapping[str, Any]) -> str:
    return ', '.join(f'{kind} {count}' for kind, count in method['cost']['spatial'].items())
