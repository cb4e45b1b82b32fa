"""What a contender does to a tower's features, picture by picture, kept where it is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import tosa_ros
from benchmarks.real.contenders import InTower
from benchmarks.real.depths import with_depth
from benchmarks.real.probes import LABELS, Probes
from benchmarks.real.towers import Tower
from tosa_ros.files import write_text
from tosa_ros.frames import Frame
from tosa_ros.merging import NoMerging
from tosa_ros.spatial import edge_straddle, pool_depth, stack

BATCH = 8
SMALL = 0.03  # of the picture: what covers no more is a small thing
# dense, class token: cosines with the unmerged picture's. classes, small: shares of patches (of
# small things) whose class the probe gets right. depth: mean error of log metres. kl: of the
# probe's classes, nats. straddle: share of tokens on both sides of a depth edge.
MEASURES = ('dense', 'class token', 'classes', 'small', 'depth', 'kl', 'straddle')
PLAIN = InTower('none', NoMerging())
_PASSED = ('merging', 'spatial', 'vision')
_BESIDE = ('measured', 'contenders', 'baselines', 'probes', 'towers', 'depths')


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame and its patches' classes (N,) int64, -1 where no class covers most of a patch."""

    name: str
    frame: Frame
    labels: np.ndarray | None = None


class Measured:
    """Contenders on pictures."""

    def __init__(
        self, tower: Tower, pictures: Sequence[Picture], probes: Probes | None, work: Path
    ) -> None:
        self.tower, self.pictures, self.probes, self.work = tower, list(pictures), probes, work
        names = ' '.join(picture.name for picture in self.pictures)
        self.key = f'{tower.name} {tower.side} {probes is not None} {names} {code()}'
        self._plain: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, contender, depth: str = 'sensor') -> dict[str, np.ndarray]:
        """Each of MEASURES by picture (NaN where it has no meaning), from its file if there."""
        told = f'{contender!r} {depth} {self.key}'
        path = self.work / f'{hashlib.sha256(told.encode()).hexdigest()[:16]}.json'
        if path.exists():
            rows = np.array(json.loads(path.read_text(encoding='utf-8')), float)
        else:
            starts = range(0, len(self.pictures), BATCH)
            rows = np.concatenate([self._batch(contender, depth, at) for at in starts])
            self.work.mkdir(parents=True, exist_ok=True)
            held = [[None if np.isnan(x) else round(x, 6) for x in row] for row in rows.tolist()]
            write_text(path, json.dumps(held))
        return dict(zip(MEASURES, rows.T, strict=True))

    @torch.inference_mode()
    def _batch(self, contender, depth: str, at: int) -> np.ndarray:
        pictures = self.pictures[at : at + BATCH]
        if at not in self._plain:
            dense, first, _ = self._run(PLAIN, pictures, 'none')
            self._plain[at] = dense.half(), first
        plain, plain_first = self._plain[at][0].float(), self._plain[at][1]
        dense, first, source = self._run(contender, pictures, depth)
        rows = np.full((len(pictures), len(MEASURES)), np.nan)
        rows[:, 0] = torch.cosine_similarity(dense, plain, dim=-1).mean(1)
        if first.shape[1]:
            rows[:, 1] = torch.cosine_similarity(first[:, 0], plain_first[:, 0], dim=-1)
        for row, picture, own, before, at_token in zip(
            rows, pictures, dense, plain, source, strict=True
        ):
            if self.probes is not None and picture.labels is not None:
                row[2], row[3], row[5] = self._classes(picture.labels, own, before)
            if picture.frame.depth_m is not None:
                metres = torch.from_numpy(np.array(picture.frame.depth_m))
                grid = self.tower.grid(picture.frame)
                row[6] = edge_straddle(metres, [grid], at_token)
                if self.probes is not None:
                    gap = self.probes.depth(own) - pool_depth(metres, grid).log()
                    row[4] = gap.abs().nanmean()
        return rows

    def _run(
        self, contender, pictures: Sequence[Picture], depth: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Dense tokens and class tokens after the final norm, and each patch's token."""
        frames = [with_depth(p.frame, depth, p.name) for p in pictures]
        pixels = torch.stack([self.tower.pixels(frame.rgb) for frame in frames])
        spatial = None
        if contender.spatial:
            made = [self.tower.spatial(frame, contender.method) for frame in frames]
            spatial = None if made[0] is None else stack(made)
        with torch.autocast('cpu', torch.bfloat16):
            merged = contender(self.tower.model, pixels, spatial)
        dense = self.tower.normed(merged.unmerge(fill='nearest'))
        return dense, self.tower.normed(merged.class_tokens), merged.source

    def _classes(self, labels: np.ndarray, own: Tensor, before: Tensor) -> tuple[float, ...]:
        found, plain = (self.probes.classes(x).log_softmax(-1) for x in (own, before))
        right = (found.argmax(-1).numpy() == labels).astype(float)
        small = small_things(labels)
        shares = (right[where].mean() if where.any() else np.nan for where in (labels >= 0, small))
        return *shares, float((plain.exp() * (plain - found)).sum(-1).mean())


def small_things(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: patches of classes that cover at most SMALL of the picture."""
    counts = np.bincount(labels[labels >= 0], minlength=LABELS)
    return (labels >= 0) & (counts[labels.clip(0)] <= SMALL * len(labels))


def code() -> str:
    """Hash of everything that a figure passes through."""
    package = Path(tosa_ros.__file__).parent
    files = sorted(file for part in _PASSED for file in (package / part).glob('**/*.py'))
    files += [Path(__file__).with_name(f'{name}.py') for name in _BESIDE]
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]
