"""What a report says, part by part, before it is Markdown or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tosa_ros.evaluation.report.tables import (
    Table,
    category_table,
    cost_table,
    difference_table,
    example_table,
    latency_table,
    line,
    main_scores,
    percent,
    score_table,
)


@dataclass(frozen=True)
class Shown:
    """A failure: what was said in lines, and a picture (JPEG) with the name of its file."""

    lines: Sequence[str]
    file: str = ''
    picture: bytes = b''


# A heading, with a table, lines, or failures.
Section = tuple[str, 'Table | list[str] | list[Shown]']


def sections(
    results: Mapping[str, Any], pictures: Mapping[Any, bytes] | None = None
) -> list[Section]:
    """Headings with a table or lines each; an empty line list is left out.

    pictures: of failures, by question.
    """
    scored = f'{results["scored"]} of {results["questions"]} questions have an answer'
    faults = [f'{what}: {why}' for what, why in results['not_evaluated'].items()]
    judge = [f'{label}: {why}' for label, why in results['judge_errors'].items()]
    settings = [f'{name}: {line(value)}' for name, value in results['settings'].items()]
    judge_settings = results.get('judge') or {}
    judged_by = [f'{name}: {line(value)}' for name, value in judge_settings.items()]
    pairs = results['differences']
    differences = difference_table(pairs) if pairs else []
    parts: list[Section] = [
        (
            f'Scores (percent, with the 95 % interval{_over(results)}; {scored})',
            score_table(results),
        ),
        (f'Paired differences (percentage points{_over(results)}; p uncorrected)', differences),
        ('Cost (means a question)', cost_table(results)),
        ('Not evaluated; its questions count as wrong', faults),
        *_live_parts(results['live']),
        ('Not judged', judge),
        ('Notes on the data', results['problems']),
        ('Failures (first those on which methods differ)', failures(results, pictures or {})),
        ('Settings', settings),
        ('Judge', judged_by),
        ('Made by', _made(results.get('made', ()))),
        (f'Answers (the first {len(results["examples"])})', example_table(results)),
    ]
    if results['scored']:
        metric = next(iter(main_scores(results).values()))['metric']
        parts.insert(1, (f'By category: {metric}', category_table(results)))
    return [(heading, part) for heading, part in parts if part]


def _over(results: Mapping[str, Any]) -> str:
    """What intervals and tests take for independent, as a heading says it."""
    overs = [s.get('interval_over') for m in results['methods'].values() for s in m['scores']]
    return next((f' over {over}' for over in overs if over), '')


def failures(results: Mapping[str, Any], pictures: Mapping[Any, bytes]) -> list[Shown]:
    """The failures that `results` lists, each with its picture, where there is one."""
    shown = []
    for number, one in enumerate(results.get('failures', ()), start=1):
        said = [
            f'{label}: {line(answer)} ({percent(one["values"].get(label))})'
            for label, answer in one['said'].items()
        ]
        about = f'{line(one["question"])} [{line(one["category"] or one["episode"])}]'
        lines = [about, f'right: {line(one["answer"])}', *said]
        picture = pictures.get(one['question_id'], b'')
        shown.append(Shown(lines, f'failure-{number}.jpg' if picture else '', picture))
    return shown


def _made(made: Sequence[Mapping[str, Any]]) -> list[str]:
    """Command lines, each followed by where it ran."""
    lines = []
    for one in made:
        parts = [
            ', '.join(f'{name} {"none" if value is None else value}' for name, value in of.items())
            for of in (one['versions'], one['hardware'])
        ]
        lines += [line(one['command']), line('; '.join(parts))]
    return lines


def _live_parts(live: Mapping[str, Any] | None) -> list[Section]:
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
