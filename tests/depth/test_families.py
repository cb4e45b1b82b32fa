"""Depth models of transformers besides Depth Anything: what each one's output is taken for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from depth_models import IMAGENET, enliven, prompted, small_vit
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForDepthEstimation,
    BeitConfig,
    DepthProConfig,
    Dinov2Config,
    DPTConfig,
    DPTImageProcessorPil,
    PromptDepthAnythingImageProcessorPil,
    ZoeDepthConfig,
    ZoeDepthImageProcessorPil,
)

from tosa_ros.depth import MonocularDepth
from tosa_ros.depth.networks import filled
from tosa_ros.errors import DepthError
from tosa_ros.frames import Frame, Intrinsics

SIDE = {'height': 64, 'width': 64}


def midas():
    """As Intel's dpt-large."""
    return DPTConfig(
        **small_vit(image_size=64, patch_size=16),
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    ), DPTImageProcessorPil(size=SIDE)


def dinov2_dpt():
    """As facebook's dpt-dinov2-small-nyu: it pads instead of resizing."""
    backbone = Dinov2Config(
        **small_vit(image_size=56, patch_size=14, mlp_ratio=2),
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=False,
    )
    return DPTConfig(
        backbone_config=backbone,
        hidden_size=32,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=256,
        use_bias_in_fusion_residual=False,
        add_projection=True,
    ), DPTImageProcessorPil(do_resize=False, do_pad=True, size_divisor=14, **IMAGENET)


def zoedepth():
    """As Intel's zoedepth-nyu."""
    backbone = BeitConfig(
        **small_vit(image_size=64, patch_size=16),
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    return ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=8,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{'n_bins': 8, 'min_depth': 0.001, 'max_depth': 10.0}],
    ), ZoeDepthImageProcessorPil(size=SIDE, ensure_multiple_of=32, keep_aspect_ratio=True)


def depth_pro(use_fov_model=True):
    """As apple's DepthPro-hf."""
    part = small_vit(model_type='dinov2', image_size=16, patch_size=4, mlp_ratio=2)
    return DepthProConfig(
        patch_size=16,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.25, 0.5, 1],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[8, 8, 8],
        image_model_config=dict(part),
        patch_model_config=dict(part),
        fov_model_config=dict(part),
        use_fov_model=use_fov_model,
    ), DPTImageProcessorPil(size=SIDE, image_mean=[0.5] * 3, image_std=[0.5] * 3)


MAKERS = (midas, dinov2_dpt, zoedepth, depth_pro, prompted)


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    """A folder by the name of its maker."""

    def write(maker, **kwargs):
        folder = tmp_path_factory.mktemp(maker.__name__)
        config, processor = maker(**kwargs)
        torch.manual_seed(3)
        model = enliven(AutoModelForDepthEstimation.from_config(config))
        for name, tensor in model.named_parameters():
            if name.endswith(('head.head.4.bias', 'head.layers.4.bias')):  # above the ReLU
                torch.nn.init.constant_(tensor, 2.0)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder

    made = {maker.__name__: write(maker) for maker in MAKERS}
    return made | {'without fov': write(depth_pro, use_fov_model=False)}


@pytest.fixture
def load(checkpoints):
    return lambda name: MonocularDepth.from_pretrained(checkpoints[name])


@torch.no_grad()
def output_of(checkpoint, pixels, **more):
    """By the library's own class, called in the ordinary way."""
    model = AutoModelForDepthEstimation.from_pretrained(checkpoint).eval()
    return model(pixel_values=pixels, **more)


def resize(raw, size):
    return torch.nn.functional.interpolate(raw[None], size, mode='bilinear')[0, 0].numpy()


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('midas', 'relative'),
        ('dinov2_dpt', 'metric'),
        ('zoedepth', 'metric'),
        ('depth_pro', 'metric'),
        ('prompted', 'metric'),
    ],
)
def test_metric_or_relative(load, name, kind):
    estimator = load(name)
    assert estimator.kind == kind
    assert estimator.needs_sensor == (name == 'prompted')


def test_midas_gives_disparity(load, checkpoints, rgb):
    processor = DPTImageProcessorPil.from_pretrained(checkpoints['midas'])
    pixels = processor(rgb, return_tensors='pt')['pixel_values']
    assert pixels.shape == (1, 3, 64, 64)
    disparity = resize(output_of(checkpoints['midas'], pixels).predicted_depth, (60, 80))
    assert disparity.std() > 0.01
    found = load('midas').estimate(rgb)
    assert found.depth_m is None
    low, high = disparity.min(), disparity.max()
    wanted = (disparity - low) / (high - low)  # greater is nearer, as in a frame
    np.testing.assert_allclose(found.relative_depth, wanted, atol=1e-4)


def test_dinov2s_heads_give_metres(load, checkpoints, rgb):
    square = np.ascontiguousarray(rgb[:56, :56])  # which needs no padding
    processor = DPTImageProcessorPil.from_pretrained(checkpoints['dinov2_dpt'])
    pixels = processor(square, return_tensors='pt')['pixel_values']
    metres = resize(output_of(checkpoints['dinov2_dpt'], pixels).predicted_depth, (56, 56))
    assert metres.std() > 0.01
    found = load('dinov2_dpt').estimate(square)
    np.testing.assert_allclose(found.depth_m, np.where(metres > 0, metres, np.nan), rtol=1e-4)


def test_zoedepth_gives_metres(load, checkpoints, rgb):
    processor = ZoeDepthImageProcessorPil.from_pretrained(checkpoints['zoedepth'])
    pixels = processor(rgb, return_tensors='pt')['pixel_values']
    raw = output_of(checkpoints['zoedepth'], pixels).predicted_depth
    margin_y, margin_x = 16, 18  # int(sqrt(60 / 2) * 3), int(sqrt(80 / 2) * 3)
    wanted = resize(raw, (60 + 2 * margin_y, 80 + 2 * margin_x))
    wanted = wanted[margin_y:-margin_y, margin_x:-margin_x]
    found = load('zoedepth').estimate(rgb)
    np.testing.assert_allclose(found.depth_m, wanted, rtol=1e-4)
    assert found.depth_m.min() > 0


@pytest.mark.parametrize('name', ['midas', 'dinov2_dpt', 'zoedepth', 'depth_pro', 'prompted'])
def test_the_map_lies_on_the_images_pixels(load, name):
    """A model that gives back its input's red channel gives back the image, at its place."""
    estimator = load(name)
    network = estimator.network
    v, u = np.mgrid[:58, :83]
    rgb = np.stack([100 + u + v, 0 * u, 0 * u], axis=-1).astype(np.uint8)
    mean, std = 0.5, 0.5
    if name in ('dinov2_dpt', 'prompted'):
        mean, std = IMAGENET['image_mean'][0], IMAGENET['image_std'][0]

    def red(pixel_values, **_):
        level = pixel_values[:, 0] * std + mean
        fov = torch.tensor([53.130102354156])  # half of it has the tangent 1/2
        return SimpleNamespace(predicted_depth=level, field_of_view=fov)

    red.device, red.dtype = torch.device('cpu'), torch.float32
    network.model = red
    with torch.inference_mode():
        found = network.maps(rgb, sensor_m=np.ones((58, 83), np.float32)).numpy()
    if name == 'depth_pro':
        found = 1 / found
    wanted = rgb[..., 0] / 255
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found[6:-6, 6:-6], wanted[6:-6, 6:-6], atol=0.006)


def frame_of(rgb, fx=None, depth_m=None):
    height, width = rgb.shape[:2]
    camera = None if fx is None else Intrinsics(fx, fx, width / 2, height / 2, width, height)
    return Frame(rgb, depth_m=depth_m, intrinsics=camera)


def test_depth_pro_takes_the_cameras_focal_length_or_estimates_it(load, checkpoints, rgb):
    pixels = torch.from_numpy(rgb.transpose(2, 0, 1).astype(np.float32))[None] / 255
    pixels = torch.nn.functional.interpolate((pixels - 0.5) / 0.5, (64, 64), mode='bilinear')
    output = output_of(checkpoints['depth_pro'], pixels)
    assert output.predicted_depth.std() > 0.01
    fov = np.radians(float(output.field_of_view[0]))
    assert fov != 0
    estimated_fx = 0.5 * 80 / np.tan(0.5 * fov)
    estimator = load('depth_pro')
    for fx, frame in ((60.0, frame_of(rgb, 60.0)), (estimated_fx, frame_of(rgb))):
        inverse = resize(output.predicted_depth * 80 / fx, (60, 80))
        wanted = np.clip(inverse, 1e-4, 1e4)
        found = estimator.annotate(frame)
        assert found.depth_m.max() > 2 * found.depth_m.min()
        np.testing.assert_allclose(1 / found.depth_m, wanted, rtol=1e-3, atol=1e-3)
    alone = estimator.estimate(rgb).depth_m
    np.testing.assert_array_equal(alone, found.depth_m)


def test_depth_pro_without_any_focal_length(load, rgb):
    estimator = load('without fov')
    assert estimator.annotate(frame_of(rgb, 60.0)).depth_m.shape == (60, 80)
    with pytest.raises(DepthError, match='no part that estimates the field of view'):
        estimator.estimate(rgb)


@pytest.fixture
def sensor_m():
    return np.linspace(1, 4, 60 * 80, dtype=np.float32).reshape(60, 80)


def test_a_prompted_model_refines_a_sensors_metres(load, checkpoints, rgb, sensor_m):
    processor = PromptDepthAnythingImageProcessorPil.from_pretrained(checkpoints['prompted'])
    inputs = processor(rgb, prompt_depth=sensor_m * 1000, return_tensors='pt')
    raw = output_of(
        checkpoints['prompted'], inputs['pixel_values'], prompt_depth=inputs['prompt_depth']
    ).predicted_depth
    estimator = load('prompted')
    found = estimator.annotate(frame_of(rgb, depth_m=sensor_m))
    np.testing.assert_allclose(found.depth_m, resize(raw, (60, 80)), rtol=1e-4)
    assert 1 <= found.depth_m.min() < found.depth_m.max() <= 4
    doubled = estimator.replace_depth(frame_of(rgb, depth_m=2 * sensor_m))
    np.testing.assert_allclose(doubled.depth_m, 2 * found.depth_m, rtol=1e-4)


def test_holes_and_flat_depth_in_the_prompt(load, rgb, sensor_m):
    estimator = load('prompted')
    whole = estimator.annotate(frame_of(rgb, depth_m=sensor_m)).depth_m
    holed = sensor_m.copy()
    holed[10:20, 30:50] = np.nan
    found = estimator.annotate(frame_of(rgb, depth_m=holed)).depth_m
    assert np.isfinite(found).all()
    assert np.abs(found - whole).mean() < 0.02  # of a range of 3 m
    flat = estimator.annotate(frame_of(rgb, depth_m=np.full((60, 80), 2, np.float32))).depth_m
    np.testing.assert_allclose(flat, 2, atol=1e-4)


def test_a_prompted_model_without_a_sensor(load, rgb):
    estimator = load('prompted')
    with pytest.raises(DepthError, match="refines a sensor's depth in metres; the frame has"):
        estimator.annotate(frame_of(rgb))
    with pytest.raises(DepthError, match="refines a sensor's depth in metres, and there is none"):
        estimator.estimate(rgb)


def test_filling_takes_what_is_around():
    depth = torch.full((1, 1, 7, 9), torch.nan)
    with pytest.raises(DepthError, match='no pixel has a value'):
        filled(depth)
    depth[..., 2, 2], depth[..., 2, 8] = 3.0, 5.0
    found = filled(depth)
    assert found.shape == depth.shape
    assert found[0, 0, 2, 2] == 3
    assert found[0, 0, 0, 0] == found[0, 0, 3, 3] == 3
    assert found[0, 0, 3, 8] == 5
    assert ((found >= 3) & (found <= 5)).all()
    assert torch.equal(filled(found), found)


def test_tensors_that_are_never_used_may_be_missing(load, checkpoints, tmp_path, rgb):
    """Intel's dpt-large lacks the first fusion's unit for what comes from before."""
    for file in checkpoints['midas'].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / 'model.safetensors')
    unused = [n for n in tensors if n.startswith('neck.fusion_stage.layers.0.residual_layer1.')]
    assert len(unused) == 4
    for name in unused:
        del tensors[name]
    save_file(tensors, tmp_path / 'model.safetensors', {'format': 'pt'})
    found = MonocularDepth.from_pretrained(tmp_path).estimate(rgb)
    np.testing.assert_array_equal(found.relative_depth, load('midas').estimate(rgb).relative_depth)


def test_a_family_with_one_input_size(checkpoints):
    for name in ('midas', 'zoedepth', 'depth_pro'):
        with pytest.raises(DepthError, match='has one size; leave input_size out'):
            MonocularDepth.from_pretrained(checkpoints[name], input_size=56)
