"""A run's report for people: Markdown, the same as HTML, and a plot with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tosa_ros.evaluation.report.markdown import markdown_page, markdown_table
from tosa_ros.evaluation.report.page import html_page
from tosa_ros.evaluation.report.plot import can_be_plotted, check_plotting, plot, plot_csv
from tosa_ros.evaluation.report.sections import Shown, sections
from tosa_ros.evaluation.report.tables import difference_table, score_table
from tosa_ros.files import write_bytes, write_text

__all__ = [
    'check_plotting',
    'difference_table',
    'markdown_table',
    'plot',
    'plot_csv',
    'score_table',
    'write_report',
]


def write_report(
    folder: Path, results: Mapping[str, Any], pictures: Mapping[Any, bytes] | None = None
) -> None:
    """Writes report.md, report.html, plot.png, plot.svg and plot.csv of what `score_run` gave.

    pictures: JPEGs of failures, by question; written as failure-1.jpg and so on.
    """
    picture = None
    if can_be_plotted(results):
        picture = plot(results)
        write_bytes(folder / 'plot.png', picture)
        write_bytes(folder / 'plot.svg', plot(results, 'svg'))
        write_text(folder / 'plot.csv', plot_csv(results))
    title = f'{results["benchmark"]}: {results["questions"]} questions'
    parts = sections(results, pictures)
    _write_pictures(folder, [one for _, part in parts for one in part if isinstance(one, Shown)])
    write_text(folder / 'report.md', markdown_page(title, parts, 'plot.png' if picture else None))
    write_text(folder / 'report.html', html_page(title, parts, picture))


def _write_pictures(folder: Path, shown: Sequence[Shown]) -> None:
    """Writes the failures' pictures, and removes those of an earlier report."""
    files = {one.file: one.picture for one in shown if one.file}
    for name, picture in files.items():
        write_bytes(folder / name, picture)
    for path in folder.glob('failure-*.jpg'):
        if path.name not in files:
            path.unlink()
