from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

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
from tosa_ros.depth.networks import Network
from tosa_ros.errors import DepthError
from tosa_ros.frames import Frame, Intrinsics


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
    assert estimator.network.pixels(rgb).shape == (1, 3, 56, 70)
    tall = estimator.estimate(np.ascontiguousarray(rgb.transpose(1, 0, 2)))
    assert tall.depth_m.shape == (80, 60)


def test_input_size_sets_the_models_resolution(metric_checkpoint, rgb):
    estimator = MonocularDepth.from_pretrained(metric_checkpoint, input_size=28)
    assert min(estimator.network.pixels(rgb).shape[-2:]) == 28
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
    assert estimator.network.model.dtype == torch.bfloat16
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
    again = MonocularDepth.from_pretrained(relative_checkpoint).replace_depth(metric)
    np.testing.assert_array_equal(again.relative_depth, relative.relative_depth)
    assert again.depth_m is None


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
    with pytest.raises(DepthError, match='dinov2 is not supported; supported: ') as refused:
        MonocularDepth.from_pretrained(tmp_path)
    for known in ('depth_anything (', 'depth_pro (', 'dpt (', 'zoedepth (', 'prompt_depth_anyth'):
        assert known in str(refused.value)


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


class Red:
    """In place of a model: gives back the red channel of its input, times a factor."""

    device, dtype = torch.device('cpu'), torch.float32

    def __init__(self, factor=1.0, bias=0.0):
        self.factor, self.bias = factor, bias

    def __call__(self, pixel_values):
        assert pixel_values.shape[-1] % 14 == 0, pixel_values.shape
        assert pixel_values.shape[-2] % 14 == 0, pixel_values.shape
        return SimpleNamespace(predicted_depth=pixel_values[:, 0] * self.factor + self.bias)


def red(kind, size=518, **kwargs):
    processor = DPTImageProcessorPil(
        size={'height': size, 'width': size},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    return MonocularDepth(Network(Red(**kwargs), processor, kind))


def test_a_model_sees_normalised_pixels(rgb):
    depth = red('metric', factor=2.0, bias=10.0).estimate(rgb).depth_m
    wanted = 2 * (rgb[..., 0] / 255 - 0.485) / 0.229 + 10
    assert depth.shape == (60, 80)
    # Up to 700x518 and back smooths the ramp a little.
    np.testing.assert_allclose(depth[4:-4, 4:-4], wanted[4:-4, 4:-4], atol=0.05)


def test_a_relative_output_is_scaled(rgb):
    relative = red('relative', size=56).estimate(rgb).relative_depth
    assert (relative.min(), relative.max()) == (0, 1)
    assert relative[30, 70] > relative[30, 10]


@pytest.mark.parametrize(('kind', 'wanted'), [('relative', 0), ('metric', 3)])
def test_a_flat_map(rgb, kind, wanted):
    estimate = red(kind, factor=0.0, bias=3.0).estimate(rgb)
    flat = estimate.depth_m if kind == 'metric' else estimate.relative_depth
    assert (flat == wanted).all()


def test_metric_output_that_is_not_above_zero_is_missing(rgb):
    depth = red('metric').estimate(rgb).depth_m
    level = rgb[..., 0] / 255 - 0.485
    assert np.isnan(depth[level < -0.1]).all()
    assert (depth[level > 0.1] > 0).all()


def test_a_map_without_a_finite_value(rgb):
    with pytest.raises(DepthError, match=r'no finite value; does its dtype \(float32\) fit it'):
        red('relative', factor=float('nan')).estimate(rgb)
