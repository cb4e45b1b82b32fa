"""Everything stays on the model's device, and merging never waits for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from second_device import moved, second_device
from torch.utils import backend_registration
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from tosa_ros import Frame, Intrinsics, NoMerging, PiToMe, ToFu, ToMe, ToSA, VqaPipeline
from tosa_ros.assets import embedded_model
from tosa_ros.spatial import PatchGrid, level_tokens, metric_tokens, stack
from tosa_ros.vision import merge_tokens
from tosa_ros.vlm import Answerer
from tosa_ros.vlm.untrained import write_checkpoint

pytestmark = pytest.mark.skipif(
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
SMALL = {
    'hidden_size': 48,
    'intermediate_size': 64,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'image_size': 48,
    'patch_size': 8,
}


def name(method):
    return f'{type(method).__name__} {method.merge_at} {method.proportional}'


def frame(seed):
    rng = np.random.default_rng(seed)
    return Frame(
        rng.integers(0, 256, (60, 80, 3), dtype=np.uint8),
        depth_m=rng.uniform(1, 3, (60, 80)).astype(np.float32),
        intrinsics=Intrinsics(60, 60, 40, 30, 80, 60),
    )


def spatial(kind, batch):
    generator = torch.Generator().manual_seed(4)
    grid = PatchGrid.over(6, 6, 48, 48)
    camera = torch.tensor([40.0, 40, 24, 24])
    maps = 1 + torch.rand(batch, 48, 48, generator=generator)
    maps[:, :9, :20] = float('nan')
    if kind == 'levels':
        return stack([level_tokens(m - 1, grid) for m in maps])
    return stack([metric_tokens(m, camera, grid) for m in maps])


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
        newline = pipeline.answerer._newline
        pipeline.answerer = Answerer(
            moved(pipeline.answerer.model), pipeline.answerer.prompt, newline
        )
        assert answers(pipeline) == want
        # The language model waits for each word, and for nothing else but its mask.
        assert waits.count('tolist') <= 3 * 5
