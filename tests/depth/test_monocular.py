from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForDepthEstimation,
    Dinov2Config,
    Dinov2Model,
    DPTImageProcessorPil,
)

from tosa_ros.depth import MonocularDepth
from tosa_ros.errors import DepthError
from tosa_ros.frames import Frame, Intrinsics


@pytest.fixture
def rgb():
    """A smooth picture, 60 high and 80 wide, with an edge in it."""
    v, u = np.mgrid[:60, :80]
    picture = np.stack([u * 3, v * 4, (u > 40) * 200], axis=-1)
    return picture.astype(np.uint8)


def by_transformers(path, rgb):
    """The same picture through the library's own classes, called in the ordinary way."""
    processor = DPTImageProcessorPil.from_pretrained(path)
    model = AutoModelForDepthEstimation.from_pretrained(path).eval()
    inputs = processor(Image.fromarray(rgb), return_tensors='pt')
    with torch.no_grad():
        outputs = model(**inputs)
    return inputs['pixel_values'], outputs


def resize(raw, rgb):
    return torch.nn.functional.interpolate(
        raw[:, None], rgb.shape[:2], mode='bilinear', align_corners=False
    )[0, 0].numpy()


def test_metric_estimate_is_the_models_own_metres(metric_checkpoint, rgb):
    estimator = MonocularDepth.from_pretrained(metric_checkpoint)
    _, outputs = by_transformers(metric_checkpoint, rgb)
    estimate = estimator.estimate(rgb)
    assert estimator.kind == 'metric'
    assert estimate.relative_depth is None
    assert estimate.depth_m.dtype == np.float32
    np.testing.assert_allclose(
        estimate.depth_m, resize(outputs.predicted_depth, rgb), rtol=1e-5, atol=1e-5
    )
    assert estimate.depth_m.std() > 0.1
    assert 0 < estimate.depth_m.min() < estimate.depth_m.max() <= 20


def test_relative_estimate_is_the_models_disparity_scaled(relative_checkpoint, rgb):
    estimator = MonocularDepth.from_pretrained(relative_checkpoint)
    _, outputs = by_transformers(relative_checkpoint, rgb)
    disparity = resize(outputs.predicted_depth, rgb)
    estimate = estimator.estimate(rgb)
    assert estimator.kind == 'relative'
    assert estimate.depth_m is None
    assert (estimate.relative_depth.min(), estimate.relative_depth.max()) == (0, 1)
    expected = (disparity - disparity.min()) / (disparity.max() - disparity.min())
    np.testing.assert_allclose(estimate.relative_depth, expected, atol=1e-5)


def test_close_to_transformers_own_postprocessing(metric_checkpoint, rgb):
    # The library resizes by bicubic, this package by bilinear interpolation.
    processor = DPTImageProcessorPil.from_pretrained(metric_checkpoint)
    _, outputs = by_transformers(metric_checkpoint, rgb)
    theirs = processor.post_process_depth_estimation(outputs, target_sizes=[rgb.shape[:2]])
    theirs = theirs[0]['predicted_depth'].numpy()
    ours = MonocularDepth.from_pretrained(metric_checkpoint).estimate(rgb).depth_m
    assert np.abs(ours - theirs).mean() < 0.05 * theirs.std()


def test_the_aspect_ratio_is_kept(metric_checkpoint, rgb):
    estimator = MonocularDepth.from_pretrained(metric_checkpoint)
    pixels = estimator.processor(rgb, input_data_format='channels_last', return_tensors='pt')
    assert pixels['pixel_values'].shape[-2:] == (56, 70)
    tall = estimator.estimate(np.ascontiguousarray(rgb.transpose(1, 0, 2)))
    assert tall.depth_m.shape == (80, 60)


def test_input_size_sets_the_models_resolution(metric_checkpoint, rgb):
    estimator = MonocularDepth.from_pretrained(metric_checkpoint, input_size=28)
    pixels = estimator.processor(rgb, input_data_format='channels_last', return_tensors='pt')
    assert min(pixels['pixel_values'].shape[-2:]) == 28
    assert estimator.estimate(rgb).depth_m.shape == (60, 80)
    with pytest.raises(DepthError, match='input_size: 30; wanted a multiple of 14'):
        MonocularDepth.from_pretrained(metric_checkpoint, input_size=30)


def test_a_three_pixel_wide_picture_is_not_taken_for_channels(metric_checkpoint):
    estimate = MonocularDepth.from_pretrained(metric_checkpoint).estimate(
        np.zeros((3, 4, 3), np.uint8)
    )
    assert estimate.depth_m.shape == (3, 4)


def test_bfloat16(metric_checkpoint, rgb):
    estimator = MonocularDepth.from_pretrained(metric_checkpoint, dtype=torch.bfloat16)
    full = MonocularDepth.from_pretrained(metric_checkpoint).estimate(rgb).depth_m
    half = estimator.estimate(rgb).depth_m
    assert estimator.dtype == torch.bfloat16
    assert half.dtype == np.float32
    assert np.abs(half - full).mean() < 0.5


def test_annotate_fills_the_field_of_its_kind(relative_checkpoint, metric_checkpoint, rgb):
    frame = Frame(rgb, intrinsics=Intrinsics(60, 60, 40, 30, 80, 60), stamp=4.5)
    metric = MonocularDepth.from_pretrained(metric_checkpoint).annotate(frame)
    relative = MonocularDepth.from_pretrained(relative_checkpoint).annotate(frame)
    assert metric.has_metric_points
    assert relative.depth_m is None
    assert relative.relative_depth is not None
    assert (metric.stamp, metric.intrinsics) == (4.5, frame.intrinsics)
    with pytest.raises(DepthError, match='has depth already'):
        MonocularDepth.from_pretrained(metric_checkpoint).annotate(metric)


def test_a_folder_that_is_not_there():
    with pytest.raises(DepthError, match=r"'\./nowhere' is not a folder"):
        MonocularDepth.from_pretrained('./nowhere')


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(DepthError, match='cannot be loaded'):
        MonocularDepth.from_pretrained(tmp_path)


def test_missing_tensors(relative_checkpoint, tmp_path):
    folder = shutil.copytree(relative_checkpoint, tmp_path / 'lacking')
    tensors = load_file(folder / 'model.safetensors')
    del tensors['head.conv3.weight']
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})
    with pytest.raises(DepthError, match=r'lacks 1 tensors, head\.conv3\.weight first'):
        MonocularDepth.from_pretrained(folder)


def test_cut_off_weights(relative_checkpoint, tmp_path):
    folder = shutil.copytree(relative_checkpoint, tmp_path / 'cut')
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(DepthError, match='cannot be loaded'):
        MonocularDepth.from_pretrained(folder)


def test_pickled_weights_are_not_read(relative_checkpoint, tmp_path):
    folder = shutil.copytree(relative_checkpoint, tmp_path / 'pickled')
    torch.save(load_file(folder / 'model.safetensors'), folder / 'pytorch_model.bin')
    (folder / 'model.safetensors').unlink()
    with pytest.raises(DepthError, match='safetensors'):
        MonocularDepth.from_pretrained(folder)


def test_an_unsupported_architecture_lists_the_supported(tmp_path):
    Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(
        DepthError, match=r'dinov2 is not supported; supported: depth_anything \(Depth Anything V1'
    ):
        MonocularDepth.from_pretrained(tmp_path)


def test_a_checkpoint_that_names_remote_code_is_refused(relative_checkpoint, tmp_path):
    folder = shutil.copytree(relative_checkpoint, tmp_path / 'remote')
    config = json.loads((folder / 'config.json').read_text())
    config |= {'model_type': 'other', 'auto_map': {'AutoConfig': 'code.Config'}}
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'code.py').write_text('raise SystemExit("was run")')
    with pytest.raises(DepthError, match='cannot be loaded'):
        MonocularDepth.from_pretrained(folder)


@pytest.mark.parametrize(
    'rgb',
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
)
def test_estimate_wants_colour(metric_checkpoint, rgb):
    with pytest.raises(DepthError, match='wanted'):
        MonocularDepth.from_pretrained(metric_checkpoint).estimate(rgb)


def test_a_picture_too_thin_for_a_patch(metric_checkpoint):
    with pytest.raises(DepthError, match='depth estimate of 400x2 pixels failed'):
        MonocularDepth.from_pretrained(metric_checkpoint).estimate(np.zeros((2, 400, 3), np.uint8))


HUBCONF = '''
import torch

dependencies = ['torch']


class Probe(torch.nn.Module):
    """Gives back one channel of its input, as it came, times a factor."""

    def __init__(self, factor, extra_dimension=False, bias=0.0):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor)))
        self.extra_dimension, self.bias = extra_dimension, bias

    def forward(self, pixels):
        assert pixels.shape[-1] % 14 == 0 and pixels.shape[-2] % 14 == 0, pixels.shape
        depth = pixels[:, 0] * self.factor + self.bias
        return depth[:, None] if self.extra_dimension else depth


def probe(factor=1.0, **kwargs):
    return Probe(factor, **kwargs)


class Pair(torch.nn.Module):
    def forward(self, pixels):
        return pixels[:, :2]


def two_channels():
    return Pair()


def broken():
    print('downloading something')
    raise RuntimeError('no weights here\\nand a second line')
'''


@pytest.fixture
def hub(tmp_path):
    (tmp_path / 'hubconf.py').write_text(HUBCONF)
    return tmp_path


@pytest.mark.parametrize('extra_dimension', [False, True])
def test_hub_module_sees_normalised_pixels(hub, rgb, extra_dimension):
    estimator = MonocularDepth.from_hub(
        hub, 'probe', metric=True, factor=2.0, bias=10.0, extra_dimension=extra_dimension
    )
    depth = estimator.estimate(rgb).depth_m
    red = (rgb[..., 0] / 255 - 0.485) / 0.229
    assert estimator.kind == 'metric'
    assert depth.shape == (60, 80)
    # Up to 700x518 and back smooths the ramp a little.
    np.testing.assert_allclose(depth[4:-4, 4:-4], (2 * red + 10)[4:-4, 4:-4], atol=0.05)


def test_hub_relative_output_is_scaled(hub, rgb):
    estimator = MonocularDepth.from_hub(hub, 'probe', metric=False, input_size=56)
    relative = estimator.estimate(rgb).relative_depth
    assert estimator.kind == 'relative'
    assert (relative.min(), relative.max()) == (0, 1)
    assert relative[30, 70] > relative[30, 10]


@pytest.mark.parametrize(('metric', 'bias'), [(False, 3.0), (True, 3.0)])
def test_a_flat_map(hub, rgb, metric, bias):
    estimator = MonocularDepth.from_hub(hub, 'probe', metric=metric, factor=0.0, bias=bias)
    estimate = estimator.estimate(rgb)
    flat = estimate.depth_m if metric else estimate.relative_depth
    assert (flat == (bias if metric else 0)).all()


def test_metric_output_that_is_not_above_zero_is_missing(hub, rgb):
    depth = MonocularDepth.from_hub(hub, 'probe', metric=True).estimate(rgb).depth_m
    red = rgb[..., 0] / 255 - 0.485
    assert np.isnan(depth[red < -0.1]).all()
    assert (depth[red > 0.1] > 0).all()


def test_a_map_without_a_finite_value(hub, rgb):
    estimator = MonocularDepth.from_hub(hub, 'probe', metric=False, factor=float('nan'))
    with pytest.raises(DepthError, match='no finite value'):
        estimator.estimate(rgb)


def test_an_output_of_another_shape(hub, rgb):
    estimator = MonocularDepth.from_hub(hub, 'two_channels', metric=True, input_size=56)
    with pytest.raises(DepthError, match=r'the model gave \(1, 2, 56, 70\); wanted \(1, h, w\)'):
        estimator.estimate(rgb)


@pytest.mark.parametrize(
    'repo', ['owner/name', 'owner/name:main', 'owner/name:0123abc', f'name:{"a" * 40}']
)
def test_an_unpinned_repository_is_refused(repo):
    with pytest.raises(DepthError, match=r'not pinned.*40 digits'):
        MonocularDepth.from_hub(repo, 'any', source='github', metric=False)


def test_a_pinned_repository_comes_from_the_cache(hub, rgb, tmp_path, monkeypatch):
    commit = '0123456789' * 4
    home = tmp_path / 'torch_home'
    cached = home / 'hub' / f'owner_name_{commit}'
    cached.mkdir(parents=True)
    shutil.copy(hub / 'hubconf.py', cached)
    monkeypatch.setenv('TORCH_HOME', str(home))
    estimator = MonocularDepth.from_hub(
        f'owner/name:{commit}', 'probe', source='github', metric=False, input_size=56
    )
    assert estimator.estimate(rgb).relative_depth.max() == 1


def test_hub_faults_are_one_line_and_leave_standard_output_alone(hub, tmp_path, capsys):
    with pytest.raises(DepthError, match='not a folder with a hubconf'):
        MonocularDepth.from_hub(tmp_path / 'nowhere', 'probe', metric=True)
    with pytest.raises(DepthError, match='nothing_of_the_kind'):
        MonocularDepth.from_hub(hub, 'nothing_of_the_kind', metric=True)
    with pytest.raises(DepthError, match='no weights here') as error:
        MonocularDepth.from_hub(hub, 'broken', metric=True)
    assert '\n' not in str(error.value)
    assert capsys.readouterr().out == ''
