"""Weights in bfloat16, int8 and int4: memory of each half, and the time of each step.

    python -m benchmarks.quantized --doc docs/models.md

A LLaVA-OneVision of the 0.5B size with random weights; one frame, ToSA at keep 0.25.
"""

from __future__ import annotations

import multiprocessing
import re
import tempfile
import threading
from pathlib import Path
from statistics import median

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.families import QUESTION, frame
from benchmarks.measuring import alternate, parser, report, setup
from tosa_ros.merging import ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.vlm import Answerer, VisualTokens
from tosa_ros.vlm.untrained import write_checkpoint

KINDS = {'bfloat16': None, 'int8': 'int8', 'int4': 'int4'}
WORDS = 16


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=5)
    options.add_argument('--model', type=Path, help='a checkpoint instead of the random one')
    args = options.parse_args(argv)
    setup(args)
    with tempfile.TemporaryDirectory() as folder:
        path = args.model or write_checkpoint(
            Path(folder) / 'model', size='0.5b', dtype=torch.bfloat16
        )
        report('quantized', args, measure(path, args.repeats, args.device))
    return 0


def measure(path: Path, repeats: int, device: str) -> list[dict]:
    """A row for each kind."""
    peaks = {kind: loading_mb(path, quantize) for kind, quantize in KINDS.items()}
    pipelines = {
        kind: VqaPipeline.from_pretrained(
            path,
            merging=ToSA(keep=0.25),
            device=device,
            dtype=torch.bfloat16,
            quantize=quantize,
        )
        for kind, quantize in KINDS.items()
    }
    seen = frame(0)
    [tokens] = pipelines['bfloat16'].visual_tokens(seen)
    runs = {}
    for kind, pipeline in pipelines.items():
        runs |= {
            (kind, 'vision'): lambda p=pipeline: p.encoder.encode([seen]),
            (kind, 'prefill'): lambda p=pipeline: answer(p.answerer, tokens, 1),
            (kind, 'answer'): lambda p=pipeline: answer(p.answerer, tokens, 1 + WORDS),
        }
    times = {name: median(each) for name, each in alternate(runs, repeats, device).items()}
    return [
        {
            'weights': kind,
            'vision MB': held_mb(pipeline.encoder.half),
            'language MB': held_mb(pipeline.answerer.model),
            'of that, words MB': held_mb(words_of(pipeline.answerer.model)),
            'loading, at most MB': peaks[kind],
            'vision ms': times[kind, 'vision'],
            'prefill ms': times[kind, 'prefill'],
            'ms a word': (times[kind, 'answer'] - times[kind, 'prefill']) / WORDS,
        }
        for kind, pipeline in pipelines.items()
    ]


def words_of(model: PreTrainedModel) -> nn.Module:
    """The embeddings of words, and the head that says them."""
    return nn.ModuleList([model.get_input_embeddings(), model.get_output_embeddings()])


def answer(answerer: Answerer, tokens: VisualTokens, words: int) -> None:
    """Reads the whole prompt, and says that many words."""
    answerer.decoder.prefix.forget()
    made = answerer.answer([tokens], QUESTION, max_new_tokens=words)
    assert made.new_tokens == words, f'{made.new_tokens} words instead of {words}'


def held_mb(model: nn.Module) -> float:
    """Memory of a model's weights, as they lie in storages, in MB."""
    storages = {}
    for parameter in model.parameters():
        inner, _ = getattr(parameter, '__tensor_flatten__', lambda: ((), None))()
        for part in [getattr(parameter, name) for name in inner] or [parameter]:
            storages[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
    return sum(storages.values()) / 1e6


def loading_mb(path: Path, quantize: str | None) -> float:
    """The largest memory that loading the language model takes at once, in MB.

    Without pages of the checkpoint's file, which the system takes back when it needs them.
    """
    spawn = multiprocessing.get_context('spawn')
    with spawn.Pool(1) as pool:
        return pool.apply(_growth, (path, quantize))


def _growth(path: Path, quantize: str | None) -> float:
    # What is loaded and computed once for all, before.
    Answerer.from_pretrained(_tiny(), dtype=torch.bfloat16, quantize=quantize)
    before, peak, done = _own_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _own_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    answerer = Answerer.from_pretrained(path, dtype=torch.bfloat16, quantize=quantize)
    done.set()
    watcher.join()
    peak = max(peak, _own_mb())
    del answerer
    return peak - before


def _own_mb() -> float:
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'RssAnon:\s+(\d+) kB', status)[1]) * 1024 / 1e6


def _tiny() -> Path:
    return write_checkpoint(Path(tempfile.mkdtemp()) / 'tiny')


if __name__ == '__main__':
    raise SystemExit(main())
