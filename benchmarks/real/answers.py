"""Right answers about real photographs: every contender in the tower of a small real VLM.

    python -m benchmarks.real.answers --nyuv2 FOLDER --model CHECKPOINT --docs docs

The model is one that `python -m benchmarks.real.train` makes, or any checkpoint that the pipeline
loads. Answers are kept in --work and not asked again while model, code and questions are the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import machine, put_into, table
from benchmarks.real.asking import Asker, Model, Run, Said, asked_of_test, majority
from benchmarks.real.depths import DEPTHS
from benchmarks.real.made_questions import KINDS
from benchmarks.real.paired import compared, interval
from benchmarks.real.wups import Alike, exact, wordnet_alike, wups
from tosa_ros.errors import DataError, MissingDependencyError, TosaError

HUMAN = 'daquar'
SHOWN_KEEPS = (0.25, 0.1)  # of these, the answers are shown kind by kind


@dataclass(frozen=True, eq=False)
class Marked:
    """A run's marks: right, by question; wups, of DAQUAR's questions (NaN of others, or None)."""

    label: str
    keep: float
    depth: str
    tokens: float
    right: np.ndarray
    wups: np.ndarray | None


class Tables:
    """Marks of all runs, and the rows of every table."""

    def __init__(self, asker: Asker, runs: Sequence[Run], ours: str, alike: Alike | None) -> None:
        self.asker, self.runs, self.ours, self.alike = asker, list(runs), ours, alike
        self.asked = asker.asked
        self.pictures = np.array(asker.pictures)
        self.kinds = np.array([one.kind for one in self.asked])
        self.human = np.char.startswith(self.kinds, HUMAN)
        self._marked: dict[Run, Marked] = {}

    def of(self, run: Run) -> Marked:
        if run not in self._marked:
            keep = run.contender.keep
            self._marked[run] = self.mark(run.label, keep, run.depth, self.asker.of(run))
        return self._marked[run]

    def mark(self, label: str, keep: float, depth: str, said: Said) -> Marked:
        pairs = list(zip(said.answers, self.asked, strict=True))
        right = np.array([exact(answer, one.answer) for answer, one in pairs])
        close = None
        if self.alike is not None:
            close = np.full(len(pairs), np.nan)
            for i in np.flatnonzero(self.human):
                close[i] = wups(pairs[i][0], pairs[i][1].answer, self.alike)
        return Marked(label, keep, depth, said.tokens, right, close)

    @cached_property
    def majority(self) -> Marked:
        answers = majority(self.asker.folder, self.asked)
        return self.mark('majority of the kind', 0.0, '', Said(tuple(answers), 0.0))

    @property
    def plain(self) -> Run:
        """Of nothing merged."""
        return next(r for r in self.runs if r.contender.keep == 1 and not r.blind)

    def by_method(self) -> list[dict[str, Any]]:
        plain = self.of(self.plain)
        rows = [self._row(self.majority, plain)]
        for run in self.runs:
            against = self._ours_beside(run)
            rows.append(self._row(self.of(run), plain, against))
        return rows

    def _ours_beside(self, run: Run) -> Marked | None:
        """Our method at the same keep and depth, to be compared with."""
        if run.blind or run.label == self.ours or run.contender.keep == 1:
            return None
        keep = run.contender.keep
        beside = (r for r in self.runs if r.label == self.ours and r.contender.keep == keep)
        found = next((r for r in beside if r.depth == run.depth), None)
        return found and self.of(found)

    def _row(self, marked: Marked, plain: Marked, ours: Marked | None = None) -> dict[str, Any]:
        row = {
            'keep': marked.keep or '',
            'method': marked.label,
            'depth': marked.depth,
            'tokens': round(marked.tokens) or '',
            'DAQUAR': self._share(marked.right, self.human),
            'WUPS@0.9': self._wups(marked),
            'made': self._share(marked.right, ~self.human),
            'all': self._share(marked.right),
        }
        if marked is not plain:
            row['lost'] = percent(plain.right.mean() - marked.right.mean())
        if ours is not None:
            pair = compared(ours.right, marked.right, self.pictures)
            row[f'{self.ours} against it'] = (
                f'+{pair.only_first} -{pair.only_second}, p = {pair.p:.2g}, '
                f'by picture {pair.p_clustered:.2g}'
            )
        return row

    def by_kind(self) -> list[dict[str, Any]]:
        shown = [r for r in self.runs if r.contender.keep in (1, *SHOWN_KEEPS)]
        columns = {'majority': self.majority}
        for run in shown:
            keep = f' {run.contender.keep:g}' if run.contender.keep < 1 else ''
            depth = '' if run.depth == 'sensor' or run.blind else f', depth {run.depth}'
            columns[f'{run.label}{keep}{depth}'] = self.of(run)
        found = sorted({k for k in self.kinds if k.startswith(HUMAN)})
        rows = []
        for kind in (*found, *KINDS, 'all'):
            where = self.kinds == kind if kind != 'all' else np.ones(len(self.kinds), bool)
            if where.any():
                row = {'kind': kind, 'questions': int(where.sum())}
                named = columns.items()
                rows.append(row | {n: percent(m.right[where].mean()) for n, m in named})
        return rows

    def _share(self, right: np.ndarray, where: np.ndarray | None = None) -> str:
        where = np.ones(len(right), bool) if where is None else where
        if not where.any():
            return 'none asked'
        low, high = interval(right[where], self.pictures[where])
        return f'{percent(right[where].mean())} ({percent(low)}-{percent(high)})'

    def _wups(self, marked: Marked) -> str:
        if marked.wups is None:
            return 'no WordNet here'
        return percent(np.nanmean(marked.wups)) if self.human.any() else 'none asked'

    def setting(self) -> str:
        human, model = int(self.human.sum()), self.asker.model
        known = f'{model.fingerprint[:12]}, {str(model.dtype).removeprefix("torch.")}'
        return (
            f'{len(self.asked):,} questions about {len(self.asker.shown)} NYUv2 test frames, '
            f"{human:,} of them DAQUAR's. Model {known}. {machine()}."
        )


def percent(share: float) -> str:
    return f'{100 * share:.1f}'


def named(contenders: Sequence, names: Sequence[str] | None) -> list:
    """Those of these names, or all; what merges nothing is always there.

    Raises DataError for a name that no contender has.
    """
    known = list(dict.fromkeys(c.name for c in contenders))
    unknown = set(names or ()) - set(known)
    if unknown:
        raise DataError(f'--only: {sorted(unknown)[0]!r}; wanted some of {", ".join(known)}')
    return [c for c in contenders if names is None or c.name in names or c.keep == 1]


def plan(contenders: Sequence, depths: Sequence[str], ours: str) -> list[Run]:
    """Nothing merged, blind, then every contender; with other kinds of depth, ours alone."""
    plain = next(c for c in contenders if c.keep == 1)
    runs = [Run(plain), Run(plain, depth='none', blind=True)]
    merged = [c for c in contenders if c.keep < 1]
    runs += [Run(contender) for contender in merged]
    for depth in depths:
        if depth != 'sensor':
            runs += [Run(c, depth) for c in merged if c.name == ours]
    return runs


def _alike() -> Alike | None:
    try:
        return wordnet_alike()
    except (DataError, MissingDependencyError) as error:
        print(f'answers: {error}: its column says so', file=sys.stderr)
        return None


def main() -> int:
    from benchmarks.real.contenders import OURS, contenders

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--nyuv2', type=Path, required=True, help='folder of NYUv2 and DAQUAR')
    parser.add_argument('--model', required=True, help='folder or hub id of the checkpoint')
    parser.add_argument('--work', type=Path, default=Path('out/real-answers'), help='answers')
    parser.add_argument('--docs', type=Path, help='put the tables into this folder')
    parser.add_argument('--frames', type=int, default=0, help='of the test split; 0: all')
    parser.add_argument('--made', type=int, default=12, help='made questions about each frame')
    parser.add_argument('--keep', type=float, nargs='+', default=(0.5, 0.25, 0.1))
    parser.add_argument('--only', nargs='+', help='names of the contenders to ask')
    parser.add_argument('--depth', nargs='+', default=('sensor', 'none'), choices=DEPTHS)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='bfloat16')
    parser.add_argument('--json', action='store_true', help='print the rows as JSON')
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        model = Model(args.model, getattr(torch, args.dtype))
        shown = asked_of_test(args.nyuv2, args.frames, args.made)
        asker = Asker(args.nyuv2, args.work, model, shown)
        chosen = named(list(contenders(args.keep)), args.only)
        tables = Tables(asker, plan(chosen, args.depth, OURS), OURS, _alike())
        for number, run in enumerate(tables.runs, 1):
            start = time.process_time()
            right = tables.of(run).right.mean()
            each = (time.process_time() - start) / len(shown)
            told = f'{number}/{len(tables.runs)} {run.label} {run.contender.keep:g} {run.depth}'
            print(f'{told}: {percent(right)}, {each:.2f} s a frame', file=sys.stderr)
    except TosaError as error:
        print(f'answers: {error}', file=sys.stderr)
        return 2
    rows = {'answers-by-method': tables.by_method(), 'answers-by-kind': tables.by_kind()}
    if args.json:
        print(json.dumps(rows | {'machine': machine()}))
    else:
        print('\n\n'.join(table(one) for one in rows.values()))
    if args.docs:
        for name, one in rows.items():
            put_into(args.docs / 'quality.md', name, table(one))
        put_into(args.docs / 'quality.md', 'answers-setting', tables.setting())
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
