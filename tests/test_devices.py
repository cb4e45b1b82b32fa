"""Everything stays on the model's device, and merging never waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from samples import SMALL, frame
from second_device import moved, second_device
from torch.utils import backend_registration
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from tosa_ros import NoMerging, PiToMe, ToFu, ToMe, ToSA, VqaPipeline
from tosa_ros.assets import embedded_model
from tosa_ros.depth import MonocularDepth
from tosa_ros.errors import ModelError
from tosa_ros.evaluation.judge import LocalJudge
from tosa_ros.spatial import PatchGrid, level_tokens, metric_tokens, stack
from tosa_ros.vision import merge_tokens
from tosa_ros.vlm import Answerer, VisionEncoder
from tosa_ros.vlm.untrained import random_vision_encoder, write_checkpoint

needs_second_device = pytest.mark.skipif(
    not hasattr(backend_registration, '_setup_privateuseone_for_python_backend'),
    reason='this torch has no backends written in Python',
)
METHODS = [
    NoMerging(),
    ToMe(keep=0.3),
    ToFu(keep=0.3),
    PiToMe(keep=0.3),
    ToSA(keep=0.3),
    ToSA(keep=0.3, merge_at='every'),
    ToSA(keep=0.3, proportional=False),
]


def name(method):
    return f'{type(method).__name__} {method.merge_at} {method.proportional}'


def spatial(kind, batch):
    generator = torch.Generator().manual_seed(4)
    grid = PatchGrid.over(6, 6, 48, 48)
    camera = torch.tensor([40.0, 40, 24, 24])
    maps = 1 + torch.rand(batch, 48, 48, generator=generator)
    maps[:, :9, :20] = float('nan')
    if kind == 'levels':
        return stack([level_tokens(m - 1, grid) for m in maps])
    return stack([metric_tokens(m, camera, grid) for m in maps])


READS = {
    'item': lambda x, i: x[0, 0].item(),
    'float': lambda x, i: float(x[0, 0]),
    'if': lambda x, i: 1 if x.sum() > 0 else 0,
    'slice': lambda x, i: x[: i[0]],
    'tolist': lambda x, i: x.tolist(),
    'to': lambda x, i: x.to('cpu'),
    'copy_': lambda x, i: torch.zeros(3, 4).copy_(x),
    'equal': lambda x, i: torch.equal(x, x),
    'nonzero': lambda x, i: x.nonzero(),
    'where': lambda x, i: torch.where(x > 0),
    'mask': lambda x, i: x[x > 0],
    'write by mask': lambda x, i: x.__setitem__(x > 0, 1.0),
    'masked_select': lambda x, i: x.masked_select(x > 0),
    'unique': lambda x, i: x.unique(),
    'unique rows': lambda x, i: x.unique(dim=0),
    'bincount': lambda x, i: i.bincount(),
    'repeat_interleave': lambda x, i: x.repeat_interleave(i, dim=0),
}
NO_READS = {
    'where': lambda x, i: torch.where(x > 0, x, 0.0),
    'index': lambda x, i: x[i],
    'write by index': lambda x, i: x.__setitem__(i, 1.0),
    'repeat_interleave': lambda x, i: x.repeat_interleave(i, dim=0, output_size=3),
    'repeat': lambda x, i: x.repeat_interleave(2, dim=0),
    'move there': lambda x, i: x + torch.arange(4).to('elsewhere'),
}


@needs_second_device
@pytest.mark.parametrize(
    ('run', 'count'),
    [pytest.param(run, 1, id=name) for name, run in READS.items()]
    + [pytest.param(run, 0, id=f'no read: {name}') for name, run in NO_READS.items()],
)
def test_the_second_device_notes_what_reads_values(run, count):
    with second_device() as waits:
        x, i = torch.randn(3, 4).to('elsewhere'), torch.tensor([1, 1, 1]).to('elsewhere')
        assert waits == []
        run(x, i)
        assert len(waits) == count, waits


@needs_second_device
@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize('kind', ['metric', 'levels'])
@pytest.mark.parametrize('method', METHODS, ids=name)
@pytest.mark.parametrize(
    'encoder', [(SiglipVisionModel, SiglipVisionConfig), (CLIPVisionModel, CLIPVisionConfig)]
)
def test_a_merged_encoder_stays_on_its_device_and_never_waits(encoder, method, kind, batch):
    torch.manual_seed(0)
    model = encoder[0](encoder[1](**SMALL)).eval()
    pixels, places = torch.randn(batch, 3, 48, 48), spatial(kind, batch)
    handle = merge_tokens(model, method)
    with torch.inference_mode():
        want = handle(pixel_values=pixels, spatial=places)
    with second_device() as waits:
        moved(model)
        pixels, places = pixels.to('elsewhere'), places.to('elsewhere')
        assert waits == []
        got = handle(pixel_values=pixels, spatial=places)
        assert waits == []
    for field in ('tokens', 'class_tokens', 'size', 'source', 'xyz'):
        there, here = getattr(got, field), getattr(want, field)
        if here is not None:
            assert there.device.type == 'elsewhere'
            torch.testing.assert_close(there.inner, here, atol=1e-5, rtol=0, equal_nan=True)


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp('models')
    families = ('llava', 'llava_next', 'llava_onevision')
    made = {f: write_checkpoint(root / f, family=f, seed=3) for f in families}
    return {'embedded': embedded_model(), **made}


@needs_second_device
@pytest.mark.parametrize('model', ['embedded', 'llava', 'llava_next', 'llava_onevision'])
@pytest.mark.parametrize('method', METHODS[:5], ids=name)
def test_answers_are_the_same_on_another_device(paths, model, method):
    def answers(pipeline):
        frames = [frame(0), frame(1)]
        one = [pipeline.ask(frames, q, max_new_tokens=5) for q in ('How many?', 'What colour?')]
        requests = [(frames, 'Which is nearer?'), (frames[1], 'Is there a lamp on the left?')]
        return [a.text for a in one + pipeline.answer_batch(requests, max_new_tokens=5)]

    # In float32: other devices want the bias of sizes in the model's own type.
    pipeline = VqaPipeline.from_pretrained(paths[model], merging=method, dtype=torch.float32)
    want = answers(pipeline)
    with second_device() as waits:
        moved(pipeline.encoder.half)
        old = pipeline.answerer
        pipeline.answerer = Answerer(moved(old.model), old.prompt, old.family)
        assert answers(pipeline) == want
        # The language model waits for each word, and for nothing else but its mask.
        assert waits.count('tolist') <= 3 * 5


LOADERS = {
    'pipeline': VqaPipeline.from_pretrained,
    'encoder': VisionEncoder.from_pretrained,
    'answerer': Answerer.from_pretrained,
    'depth': MonocularDepth.from_pretrained,
    'judge': LocalJudge,
    'tower': lambda path, device: random_vision_encoder('clip-l-336', device=device),
}


@pytest.mark.parametrize('device', ['cuda:77', 'warp'])
@pytest.mark.parametrize('loader', LOADERS)
def test_an_absent_device_is_reported_before_anything_is_read(loader, device, tmp_path):
    with pytest.raises(ModelError, match=f"device '{device}': not available here"):
        LOADERS[loader](tmp_path / 'nothing', device=device)


FREED = """
import os
from tosa_ros.devices import release_memory

def resident_mib():
    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') >> 20

blocks = [bytes(100_000) + os.urandom(1) for _ in range(3000)]
last = blocks.pop()
full = resident_mib()
del blocks
kept = resident_mib()
release_memory()
print(full, kept, resident_mib())
"""


def test_freed_memory_is_given_back():
    said = subprocess.run(
        [sys.executable, '-c', FREED], check=True, capture_output=True, text=True
    )
    full, kept, released = map(int, said.stdout.split())
    assert full - kept < 150  # What the C library does by itself; else there is nothing to do.
    assert full - released > 200
