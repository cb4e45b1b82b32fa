"""What merging does to a real tower's features: methods, baselines, schedules, kinds of depth.

    python -m benchmarks.real.features --tower TOWER --nyuv2 FOLDER --name dinov2 --docs docs

A tower and RGB-D frames go in; each merged picture is compared with the same one unmerged, patch
by patch after `unmerge`. Linear probes learn from unmerged tokens of NYUv2's training frames. With
--folder FOLDER instead of --nyuv2, any folder of frames is measured, without probes. Figures are
kept in --work: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import alternate, machine, put_into, ratio, table
from benchmarks.real import nyu
from benchmarks.real.contenders import LABELS, OURS, InTower, contenders
from benchmarks.real.depths import DEPTHS
from benchmarks.real.measured import MEASURES, PLAIN, Measured, Picture, code
from benchmarks.real.paired import clustered_p, interval
from benchmarks.real.probes import Probes, patch_labels, trained
from benchmarks.real.towers import Tower
from tosa_ros.errors import DataError, TosaError
from tosa_ros.merging import METHODS, ToSA
from tosa_ros.settings.merging import MERGE_AT
from tosa_ros.sources import parse_intrinsics, read_folder

KEEPS = (0.75, 0.5, 0.25, 0.1)
SCHEDULES: dict[str, Any] = {name: name for name in MERGE_AT}
TABLES = ('methods', 'depth', 'merges')
TESTED = ('dense', 'classes')
COLUMNS = {'depth': 'depth error'}  # a kind of depth has a column of its own
HELD_OUT = 4  # every fourth training frame is measured, and no probe learns from it, for `train`


def pictures_of(tower: Tower, folder: Path, numbers: Iterable[int]) -> list[Picture]:
    found = []
    for number in numbers:
        scene = nyu.scene(folder, number)
        frame = scene.frame()
        labels = patch_labels(scene.labels, tower.grid(frame))
        found.append(Picture(f'{number:04d}', frame, labels))
    return found


def split_numbers(folder: Path, split: str) -> tuple[list[int], list[int]]:
    """Frames that probes learn from, and those that are measured; no frame is among both."""
    learnt = nyu.numbers(folder, 'train')
    if split == 'test':
        return learnt, nyu.numbers(folder, 'test')
    held = learnt[::HELD_OUT]
    return [number for number in learnt if number not in held], held


def probes_of(tower: Tower, folder: Path, numbers: list[int], work: Path) -> Probes:
    @torch.inference_mode()
    def tokens_of(scene: nyu.Scene):
        with torch.autocast('cpu', torch.bfloat16):
            merged = PLAIN(tower.model, tower.pixels(scene.rgb)[None], None)
        return tower.normed(merged.tokens)[0], tower.grid(scene.frame())

    key = f'{tower.name} {tower.side} {numbers}'
    path = work / f'probes-{Path(tower.name).name}-{tower.side}-{len(numbers)}.pt'
    return trained(path, key, tokens_of, folder, numbers)


def row(
    found: dict[str, np.ndarray], named: dict[str, Any], ours: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """A table's row: means over pictures; of ours minus this one, gap and paired p."""
    told = dict(named)
    for measure in MEASURES:
        values = found[measure][np.isfinite(found[measure])]
        if len(values):
            percent = measure in ('classes', 'small', 'straddle')
            name = COLUMNS.get(measure, measure)
            told[name] = f'{100 * values.mean():.1f}' if percent else f'{values.mean():.4f}'
    for measure in TESTED if ours is not None else ():
        gaps = ours[measure] - found[measure]
        if np.isfinite(gaps).any():
            low, high = interval(gaps, range(len(gaps)))
            scale, digits = (100, 1) if measure == 'classes' else (1, 4)
            low, high, mean = (f'{scale * x:+.{digits}f}' for x in (low, high, gaps.mean()))
            p = clustered_p(gaps, range(len(gaps)))
            told[f'ToSA {measure}'] = f'{mean} ({low} to {high}), p = {p:.2g}'
    return told


def by_method(measured: Measured, keeps: Sequence[float]) -> list[dict[str, Any]]:
    rows = [row(measured.of(PLAIN), {'keep': 1, 'method': 'none'})]
    for keep in keeps:
        ours = measured.of(InTower(OURS, ToSA(keep=keep)))
        for contender in contenders([keep]):
            if contender.keep < 1:
                found = measured.of(contender)
                against = None if contender.name == OURS else ours
                rows.append(row(found, {'keep': keep, 'method': contender.name}, against))
                said(measured, contender, found)
    return rows


def by_depth(measured: Measured, keeps: Sequence[float]) -> list[dict[str, Any]]:
    """ToSA with each kind of depth, against ToMe, which reads none."""
    rows = []
    for keep in keeps:
        tome = measured.of(InTower('ToMe', METHODS['tome'](keep=keep)))
        rows.append(row(tome, {'keep': keep, 'method': 'ToMe', 'depth': 'reads none'}))
        for depth in DEPTHS:
            ours = measured.of(InTower(OURS, ToSA(keep=keep)), depth)
            told = row(ours, {'keep': keep, 'method': OURS, 'depth': depth})
            beside = row(tome, {}, ours)
            tests = {f'ToSA {measure}': f'{measure} beyond ToMe' for measure in TESTED}
            rows.append(told | {new: beside[old] for old, new in tests.items() if old in beside})
    return rows


def by_merges(measured: Measured, keeps: Sequence[float]) -> list[dict[str, Any]]:
    """Which layers merge: features against time, one picture at a time, in turns."""
    tower, rows = measured.tower, []
    lists = {
        'every second': tuple(range(1, tower.layers, 2)),
        'equal shares': tuple(range(1, tower.layers)),
    }
    schedules = {**SCHEDULES, **lists}
    picture = measured.pictures[0]
    pixels = tower.pixels(picture.frame.rgb)[None]
    for keep in keeps:
        chosen = {
            (label, name): InTower(label, METHODS[method](keep=keep, merge_at=at))
            for name, at in schedules.items()
            for method, label in LABELS.items()
            if label in (OURS, 'ToMe')
        }
        spatial = tower.spatial(picture.frame, ToSA())

        def runs(contender, spatial=spatial):
            return lambda: contender(tower.model, pixels, spatial if contender.spatial else None)

        times = alternate({'none': runs(PLAIN)} | {k: runs(c) for k, c in chosen.items()}, 15)
        for (label, name), contender in chosen.items():
            named = {'keep': keep, 'method': label, 'merge_at': name}
            named['speed-up'] = f'{ratio(times, "none", (label, name)):.2f}'
            rows.append(row(measured.of(contender), named))
    return rows


def said(measured: Measured, contender, found: dict[str, np.ndarray]) -> None:
    dense = np.nanmean(found['dense'])
    print(f'{contender.keep:g} {contender.name}: dense {dense:.4f}', file=sys.stderr, flush=True)


def pictures_in(folder: Path, depth_scale: float, intrinsics: str | None) -> list[Picture]:
    """All frames of a folder, in any layout that the package reads."""
    frames = read_folder(folder, depth_scale=depth_scale)
    pictures = []
    for i, frame in enumerate(frames):
        if intrinsics is not None:
            camera = parse_intrinsics(intrinsics, frame.width, frame.height)
            frame = replace(frame, intrinsics=camera)
        pictures.append(Picture(f'{folder}/{i}', frame))
    return pictures


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--tower', required=True, help='folder or hub id of the tower')
    parser.add_argument('--side', type=int, default=0, help='of its input, pixels')
    parser.add_argument('--nyuv2', type=Path, help='folder of NYUv2, with labels')
    parser.add_argument('--folder', type=Path, help='any folder of frames instead')
    parser.add_argument(
        '--depth-scale', type=float, default=1000.0, help='units of --folder per metre (1000)'
    )
    parser.add_argument('--intrinsics', metavar='FX,FY,CX,CY', help="of --folder's camera")
    parser.add_argument('--split', choices=('train', 'test'), default='test')
    parser.add_argument('--frames', type=int, default=0, help='evenly drawn; 0: all')
    parser.add_argument('--keep', type=float, nargs='+', default=KEEPS)
    parser.add_argument('--tables', nargs='+', choices=TABLES, default=TABLES)
    parser.add_argument('--work', type=Path, default=Path('out/real-features'))
    parser.add_argument('--name', default='tower', help="of the tables' places in quality.md")
    parser.add_argument('--docs', type=Path, help='put the tables into this folder')
    parser.add_argument('--json', action='store_true', help='print the rows as JSON')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        tower = Tower.load(args.tower, args.side)
        if (args.nyuv2 is None) == (args.folder is None):
            raise DataError('wanted one of --nyuv2 and --folder')
        probes = None
        if args.nyuv2:
            learnt, numbers = split_numbers(args.nyuv2, args.split)
            numbers = drawn(numbers, args.frames)
            pictures = pictures_of(tower, args.nyuv2, numbers)
            probes = probes_of(tower, args.nyuv2, learnt, args.work)
        else:
            found = pictures_in(args.folder, args.depth_scale, args.intrinsics)
            pictures = drawn(found, args.frames)
        measured = Measured(tower, pictures, probes, args.work)
        made = {'methods': by_method, 'depth': by_depth, 'merges': by_merges}
        rows = {name: made[name](measured, args.keep) for name in args.tables}
    except TosaError as error:
        print(f'features: {error}', file=sys.stderr)
        return 2
    where = f'{len(pictures)} frames, {tower.patches**2} patches, bfloat16. {machine()}.'
    if args.json:
        print(json.dumps(rows | {'machine': where, 'code': code()}))
    else:
        print('\n\n'.join([where, *(table(one) for one in rows.values())]))
    for name, one in rows.items() if args.docs else ():
        place = f'features-{args.name}-{name}'
        put_into(args.docs / 'quality.md', place, f'{where}\n\n{table(one)}')
    return 0


def drawn(items: Sequence, count: int) -> list:
    """So many, evenly spread; 0: all."""
    if not 0 < count < len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


if __name__ == '__main__':
    raise SystemExit(main())
