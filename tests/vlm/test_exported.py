"""Exported towers: the same merge as the loaded encoder's, whatever runs them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tosa_ros.assets import embedded_model
from tosa_ros.errors import MergingError, ModelError, SpatialError
from tosa_ros.frames import Frame
from tosa_ros.merging import NoMerging, PiToMe, ToFu, ToMe, ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.sources import read_folder
from tosa_ros.vlm import VisionEncoder
from tosa_ros.vlm.exported import SUFFIXES, export_tower

for package in ('onnxscript', 'onnxruntime', 'openvino'):
    pytest.importorskip(package)

# float32 sums of a tower in another order.
TOLERANCE = {'rtol': 1e-3, 'atol': 1e-4}
# family or 'embedded', method, depth, formats
CASES = [
    ('embedded', ToSA(), 'metric', ('onnx', 'openvino')),
    ('llava_onevision', ToSA(keep=0.1, spatial='levels'), 'metric', ('openvino',)),
    ('llava_onevision', ToMe(keep=0.5), 'none', ('onnx',)),
    ('llava', ToSA(keep=0.4, alpha='increase', heads='mean', ward=1), 'metric', ('onnx',)),
    ('llava', ToFu(keep=0.5), 'metric', ('openvino',)),
    ('llava', PiToMe(keep=0.3), 'none', ('openvino',)),
    ('llava_onevision', ToSA(keep=0.3), 'relative', ('torch', 'onnx')),
    ('llava', ToMe(where='output', keep=0.3, merge_at=(1, 4)), 'metric', ('onnx',)),
    ('llava_next', NoMerging(), 'none', ('torch', 'openvino')),
]


@pytest.fixture(scope='module')
def encoder_of(checkpoints):
    def make(name, merging=None, **more):
        path = embedded_model() if name == 'embedded' else checkpoints[name]
        return VisionEncoder.from_pretrained(path, merging=merging, **more)

    return make


@pytest.fixture
def views(make_frame):
    """Frames by depth, of several sizes; one is all black, so that many patches are alike."""

    def make(depth):
        kinds = {'metric': 'metric', 'relative': 'relative', 'none': None}
        made = [make_frame(seed, 80 + 16 * seed, 60, kinds[depth]) for seed in range(2)]
        black = np.zeros_like(made[0].rgb)
        made.append(replace(made[0], rgb=black))
        if depth == 'metric':
            holes = made[1].depth_m.copy()
            holes[10:40, 20:70] = np.nan
            made.append(replace(made[1], depth_m=holes))
            corner = np.full_like(holes, np.nan)
            corner[:12, :12] = 2
            made.append(replace(made[1], depth_m=corner))
        return [*made, Frame(made[1].rgb)]

    return make


def same(got, wanted):
    np.testing.assert_array_equal(got.source, wanted.source)
    np.testing.assert_array_equal(got.size, wanted.size)
    np.testing.assert_allclose(got.xyz, wanted.xyz, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got.uv, wanted.uv)
    torch.testing.assert_close(got.embeddings, wanted.embeddings.float(), **TOLERANCE)
    assert (got.spatial, got.before, len(got)) == (wanted.spatial, wanted.before, len(wanted))


@pytest.mark.parametrize(('name', 'method', 'depth', 'formats'), CASES)
def test_an_exported_tower_is_the_encoder(
    name, method, depth, formats, encoder_of, views, tmp_path
):
    encoder = encoder_of(name, method, dtype=torch.float32)
    for format in formats:
        file = tmp_path / f'tower{SUFFIXES[format]}'
        facts = export_tower(encoder, file, format, depth=depth)
        tower = encoder_of(name, tower=file)
        assert tower.merging == method
        assert tower.half is None
        for frame, wanted in zip(views(depth), encoder.encode(views(depth)), strict=True):
            (got,) = tower.encode([frame])
            same(got, wanted)
            assert (facts.tokens, facts.patches) == (len(got), got.before)


SHARED = Path(__file__).parents[3] / 'shared' / 'data'
# Each with units of depth a metre, and fx, fy, cx, cy.
ROOMS = {
    'rgbd_desk': (5000, (520.9, 521.0, 325.1, 249.7)),
    'rgbd_livingroom': (1000, (525, 525, 319.5, 239.5)),
    'nyuv2': (25.5, (518.858, 519.47, 277.582, 205.736)),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason='photographs are not here')
def test_real_rooms_merge_the_same_way(encoder_of, tmp_path):
    frames = []
    for room, (scale, camera) in ROOMS.items():
        folder = read_folder(SHARED / room, depth_scale=scale, intrinsics=camera)
        frames += folder.sampled(2)
    encoder = encoder_of('embedded', ToSA(), dtype=torch.float32)
    for format in ('onnx', 'openvino'):
        file = tmp_path / f'tower{SUFFIXES[format]}'
        export_tower(encoder, file, format)
        tower = encoder_of('embedded', tower=file)
        for frame in frames:
            same(tower.encode([frame])[0], encoder.encode([frame])[0])


@pytest.fixture(scope='module')
def onnx_file(encoder_of, tmp_path_factory):
    file = tmp_path_factory.mktemp('tower') / 'tower.onnx'
    export_tower(encoder_of('llava_onevision', ToSA(keep=0.4), dtype=torch.float32), file, 'onnx')
    return file


def test_a_pipeline_answers_with_an_exported_tower(checkpoints, onnx_file, make_frame):
    path = checkpoints['llava_onevision']
    whole = VqaPipeline.from_pretrained(path, merging=ToSA(keep=0.4), dtype=torch.float32)
    half = VqaPipeline.from_pretrained(path, tower=onnx_file, dtype=torch.float32)
    wanted, got = (pipeline.ask(make_frame(3), 'what?') for pipeline in (whole, half))
    assert (got.text, got.tokens_after, got.spatial) == (
        wanted.text,
        wanted.tokens_after,
        'metric',
    )


@pytest.mark.parametrize(
    ('more', 'error', 'words'),
    [
        ({'merging': ToSA(keep=0.3)}, MergingError, 'keep 0.4, and cannot by .* --keep 0.3'),
        ({'merging': ToMe(keep=0.4)}, MergingError, '--method tosa .* cannot by --method tome'),
        ({'compile': True}, ModelError, 'compile: the tower .* is exported'),
        ({'quantize': 'int8'}, ModelError, 'quantize: the tower'),
        ({'attn_implementation': 'eager'}, ModelError, 'attn_implementation: the tower'),
    ],
)
def test_what_the_file_does_not_do_is_refused(more, error, words, encoder_of, onnx_file):
    with pytest.raises(error, match=words):
        encoder_of('llava_onevision', tower=onnx_file, **more)


def test_another_checkpoint_is_refused(encoder_of, onnx_file):
    with pytest.raises(ModelError, match=r'exported from llava_onevision .* the model is llava_n'):
        encoder_of('llava_next', tower=onnx_file)


def test_depth_of_another_kind_is_refused(encoder_of, onnx_file, make_frame):
    tower = encoder_of('llava_onevision', tower=onnx_file)
    with pytest.raises(SpatialError, match=r'in metres, but .* export it with --depth relative'):
        tower.encode([make_frame(depth='relative')])


def test_setting_another_method_later_is_refused(encoder_of, onnx_file):
    tower = encoder_of('llava_onevision', tower=onnx_file)
    with pytest.raises(MergingError, match='cannot by --method none'):
        tower.merging = NoMerging()


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('gone.onnx', 'no such file'),
        ('tower.bin', r'wanted a file .pt2, .onnx, .xml'),
        ('noise.onnx', 'cannot be loaded'),
        ('noise.pt2', 'cannot be loaded'),
        ('noise.xml', 'cannot be loaded'),
        ('cut.onnx', 'cannot be loaded'),
    ],
)
def test_bad_files_are_one_line(name, words, encoder_of, onnx_file, tmp_path):
    for suffix in ('onnx', 'pt2', 'xml'):
        (tmp_path / f'noise.{suffix}').write_bytes(b'no model')
    (tmp_path / 'cut.onnx').write_bytes(onnx_file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=words) as raised:
        encoder_of('llava_onevision', tower=tmp_path / name)
    assert '\n' not in str(raised.value)


def test_a_foreign_model_is_not_run(encoder_of, onnx_file, tmp_path):
    import onnx

    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'foreign.onnx')
    with pytest.raises(ModelError, match='not made by `tosa export`'):
        encoder_of('llava_onevision', tower=tmp_path / 'foreign.onnx')


@pytest.mark.parametrize(
    ('out', 'format', 'words'),
    [
        ('tower.xml', 'onnx', r'ends in .onnx'),
        ('tower.onnx', 'tflite', 'wanted one of torch'),
        ('none/tower.onnx', 'onnx', 'cannot be written'),
    ],
)
def test_what_cannot_be_written_is_one_line(out, format, words, encoder_of, tmp_path):
    encoder = encoder_of('llava', dtype=torch.float32)
    with pytest.raises(ModelError, match=words):
        export_tower(encoder, tmp_path / out, format)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_is_not_written_as_if_it_were_single(encoder_of, tmp_path):
    encoder = encoder_of('llava', dtype=torch.bfloat16)
    with pytest.raises(ModelError, match='dtype bfloat16: onnx files are written in float32'):
        export_tower(encoder, tmp_path / 'tower.onnx', 'onnx')


def test_depth_that_the_method_cannot_do_without(encoder_of, tmp_path):
    encoder = encoder_of('llava', ToSA(spatial='metric'), dtype=torch.float32)
    for depth in ('none', 'relative'):
        with pytest.raises(MergingError, match="spatial: 'metric'"):
            export_tower(encoder, tmp_path / 'tower.onnx', 'onnx', depth=depth)


@pytest.mark.skipif(shutil.which('g++') is None, reason='no C++ compiler, which AOTInductor needs')
def test_a_compiled_package_is_the_encoder(encoder_of, views, tmp_path):
    encoder = encoder_of('llava_onevision', ToSA(merge_at=(2,)), dtype=torch.float32)
    export_tower(encoder, tmp_path / 'tower.pt2', 'aoti')
    tower = encoder_of('llava_onevision', tower=tmp_path / 'tower.pt2')
    for frame, wanted in zip(views('metric'), encoder.encode(views('metric')), strict=True):
        same(tower.encode([frame])[0], wanted)


@pytest.mark.skipif(shutil.which('g++') is None, reason='no C++ compiler, which Inductor needs')
def test_a_compiled_encoder_merges_the_same_way_and_compiles_once(encoder_of, make_frame):
    method = ToSA(merge_at=(2,))
    encoder = encoder_of('llava_onevision', method, dtype=torch.float32)
    compiled = encoder_of('llava_onevision', method, dtype=torch.float32, compile=True)
    first = make_frame(0)
    same(compiled.encode([first])[0], encoder.encode([first])[0])
    others = [make_frame(1, 160, 90), make_frame(2, 48, 64), make_frame(3)]
    with torch._dynamo.config.patch(error_on_recompile=True):
        for got, frame in zip(compiled.encode(others), others, strict=True):
            same(got, encoder.encode([frame])[0])
