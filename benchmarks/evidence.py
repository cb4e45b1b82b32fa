"""Where evidence lies: on the thing that a question is about, against the area it covers.

    python -m benchmarks.evidence --doc docs/models.md

Views of the tiny world (`val`), the embedded model, all questions about one visible thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch

from benchmarks.measuring import alternate, parser, ratio, report, setup
from tosa_ros.assets import embedded_model
from tosa_ros.merging import MergingMethod, NoMerging, ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.synthetic import Sample, single

METHODS = {'unmerged': NoMerging(), 'ToSA 0.25': ToSA(keep=0.25), 'ToSA 0.1': ToSA(keep=0.1)}
QUESTIONS_A_VIEW = 12


@dataclass(frozen=True)
class Pointing:
    """One question's evidence: the mass on the thing, its share of the image, whether the token
    with the largest weight covers some of it, and the share of attention that images had."""

    mass: float
    area: float
    hit: bool
    share: float


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=40)
    options.add_argument('--views', type=int, default=100)
    args = options.parse_args(argv)
    setup(args)
    pipeline = VqaPipeline.from_pretrained(embedded_model(), dtype=torch.float32)
    samples = [single('val', n, questions=QUESTIONS_A_VIEW) for n in range(args.views)]
    rows = []
    for name, method in METHODS.items():
        found = list(pointing(pipeline, method, samples))
        mass, area = mean(one.mass for one in found), mean(one.area for one in found)
        rows.append(
            {
                'tokens': name,
                'questions': len(found),
                'area of the thing': f'{100 * area:.1f} %',
                'evidence on it': f'{100 * mass:.1f} %',
                'ratio': f'{mass / area:.1f}',
                'first token on it': f'{100 * mean(one.hit for one in found):.0f} %',
                'attention on images': f'{100 * mean(one.share for one in found):.0f} %',
                'answer with / without': f'{cost(pipeline, samples, args.repeats):.2f}',
            }
        )
    report('evidence', args, rows)
    return 0


def pointing(
    pipeline: VqaPipeline, method: MergingMethod, samples: list[Sample]
) -> Iterator[Pointing]:
    """Of every question about one visible thing."""
    pipeline.merging = method
    for sample in samples:
        grid = pipeline.encoder.image_input.grid(sample.frame.width, sample.frame.height)
        for question in sample.questions:
            if len(question.evidence) != 1:
                continue
            covered = _by_patch(sample.instances == question.evidence[0], grid.rows, grid.cols)
            answer = pipeline.ask(sample.frame, question.text, max_new_tokens=1, evidence=True)
            tokens, first = answer.evidence.tokens[0], answer.evidence.top(1)[0].token
            yield Pointing(
                mass=float(answer.evidence.patch_weights(0) @ covered),
                area=float(covered.mean()),
                hit=bool(covered[tokens.source == first].any()),
                share=answer.evidence.share,
            )


def cost(pipeline: VqaPipeline, samples: list[Sample], repeats: int) -> float:
    """Time to the first word about a new frame with evidence, by the time without."""
    [tokens], question = pipeline.visual_tokens(samples[0].frame), samples[0].questions[0].text
    answerer = pipeline.answerer

    def ask(evidence: bool) -> None:
        answerer.decoder.prefix.forget()
        answerer.answer([tokens], question, max_new_tokens=1, evidence=evidence)

    runs = {'with': lambda: ask(True), 'without': lambda: ask(False)}
    return ratio(alternate(runs, repeats), 'with', 'without')


def _by_patch(on_thing: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The share of each patch (rows x cols,) that a mask (H, W) covers."""
    height, width = on_thing.shape
    parts = on_thing.reshape(rows, height // rows, cols, width // cols)
    return parts.mean(axis=(1, 3)).ravel()


if __name__ == '__main__':
    raise SystemExit(main())
