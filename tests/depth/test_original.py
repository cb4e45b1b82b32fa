"""Depth Anything's own weights: names, layers, positions, pixels; and files that are none."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

from tosa_ros.depth import MonocularDepth
from tosa_ros.depth.original import authors_names
from tosa_ros.depth.published import PUBLISHED, Published, published
from tosa_ros.errors import DepthError

V1, V2 = 'depth_anything_vits14.pth', 'depth_anything_v2_vits.pth'
ROOM = 'depth_anything_v2_metric_hypersim_vits.pth'
STREET = 'depth_anything_v2_metric_vkitti_vits.pth'


def both(*names):
    return [f'{name}.{part}' for name in names for part in ('weight', 'bias')]


# As `state_dict()` of the authors' modules lists them.
BLOCK = [*both('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')]
BLOCK += ['ls1.gamma', 'ls2.gamma']
ENCODER = ['cls_token', 'pos_embed', 'mask_token', *both('patch_embed.proj', 'norm')]
HEAD = [
    *both('projects.0', 'projects.1', 'projects.2', 'projects.3'),
    *both('resize_layers.0', 'resize_layers.1', 'resize_layers.3'),
    *(f'scratch.layer{i}_rn.weight' for i in (1, 2, 3, 4)),
    *both('scratch.output_conv1', 'scratch.output_conv2.0', 'scratch.output_conv2.2'),
]
UNITS = ['resConfUnit1.conv1', 'resConfUnit1.conv2', 'resConfUnit2.conv1', 'resConfUnit2.conv2']
FUSION = both('out_conv', *UNITS)


@pytest.fixture
def write(original, tmp_path):
    """Writes the state dict under a name, changed."""

    def to(name=V2, change=lambda state: None):
        state = dict(original[0])
        change(state)
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return to


def load(path, **kwargs):
    return MonocularDepth.from_pretrained(path, **{'input_size': 56} | kwargs)


@pytest.mark.parametrize('layers', [12, 24])
def test_the_names_are_the_authors(layers):
    names = {f'pretrained.{name}' for name in ENCODER}
    names |= {f'pretrained.blocks.{i}.{name}' for i in range(layers) for name in BLOCK}
    names |= {f'depth_head.{name}' for name in HEAD}
    names |= {f'depth_head.scratch.refinenet{i}.{name}' for i in range(1, 5) for name in FUSION}
    assert set(authors_names(layers)) == names


@torch.inference_mode()
def test_the_model_is_the_one_whose_weights_they_are(original, write, rgb):
    square = np.ascontiguousarray(rgb[:56, :56])
    pixels = load(write()).network.pixels(square)
    assert pixels.shape == (1, 3, 56, 56)
    theirs = original[1](pixel_values=pixels).predicted_depth[0]
    ours = load(write()).network.maps(square)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_v1_takes_the_last_four_layers_and_v2_layers_in_between(original, write, rgb):
    square = np.ascontiguousarray(rgb[:56, :56])
    one, two = (load(write(name)) for name in (V1, V2))
    backbones = [one.network.model.backbone, two.network.model.backbone]
    assert [list(b.out_indices) for b in backbones] == [[9, 10, 11, 12], [3, 6, 9, 12]]
    first, second = (e.network.maps(square) for e in (one, two))
    assert (first - second).abs().mean() > 0.01 * second.std()
    model = original[1]
    hidden = model.backbone(one.network.pixels(square), output_hidden_states=True).hidden_states
    last = [model.backbone.layernorm(h) for h in hidden[-4:]]
    theirs = model.head(model.neck(last, 4, 4), 4, 4)[0]
    torch.testing.assert_close(first, theirs, rtol=1e-5, atol=1e-5)


def test_the_name_tells_disparity_from_metres(write, rgb):
    relative = load(write(V2))
    room, street = load(write(ROOM)), load(write(STREET))
    assert [e.kind for e in (relative, room, street)] == ['relative', 'metric', 'metric']
    near = relative.estimate(rgb).relative_depth
    assert (near.min(), near.max()) == (0, 1)
    in_room, in_street = (e.estimate(rgb).depth_m for e in (room, street))
    assert 0 < in_room.min() < in_room.max() < 20
    np.testing.assert_allclose(in_street, 4 * in_room, rtol=1e-5)


def test_pixels_are_those_of_opencv(write):
    cv2 = pytest.importorskip('cv2')
    noise = np.random.default_rng(3).integers(0, 256, (75, 100, 3), dtype=np.uint8)
    for rgb in (noise, noise.transpose(1, 0, 2), noise[:20, :30]):  # from large, tall and small
        pixels = load(write()).network.pixels(np.ascontiguousarray(rgb))[0]
        height, width = pixels.shape[1:]
        assert min(height, width) == 56
        theirs = cv2.resize(rgb / 255, (width, height), interpolation=cv2.INTER_CUBIC)
        theirs = (theirs - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        np.testing.assert_allclose(pixels.permute(1, 2, 0), theirs, atol=1e-4)


@pytest.mark.parametrize(
    ('shape', 'size'),
    [((480, 640), (518, 686)), ((1080, 1920), (518, 924)), ((60, 80), (518, 686))],
)
def test_the_shorter_side_is_518_whatever_the_image(write, shape, size):
    network = MonocularDepth.from_pretrained(write()).network
    assert network.pixels(np.zeros((*shape, 3), np.uint8)).shape == (1, 3, *size)


def test_positions_are_stretched_by_a_tenth_of_a_patch_more(write):
    learned = torch.randn(1, 17, 64)  # of the class and 4 x 4 patches

    def given(state):
        state['pretrained.pos_embed'] = learned

    embeddings = load(write(change=given)).network.model.backbone.embeddings
    found = embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + 4 * 40, 64), 56, 560)
    assert found.shape == (1, 161, 64)
    x, y = ((torch.arange(n) + 0.5) / (n + 0.1) * 2 - 1 for n in (40, 4))
    places = torch.stack([x.expand(4, 40), y[:, None].expand(4, 40)], dim=-1)[None]
    wanted = torch.nn.functional.grid_sample(
        learned[:, 1:].transpose(1, 2).view(1, 64, 4, 4),
        places,
        mode='bicubic',
        padding_mode='border',
        align_corners=False,
    )
    found = found[:, 1:].transpose(1, 2).view(1, 64, 4, 40)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    same = embeddings.interpolate_pos_encoding(torch.zeros(1, 17, 64), 56, 56)
    assert same is embeddings.position_embeddings


@torch.inference_mode()
def test_the_map_comes_back_as_the_authors_resize_it(write, rgb):
    for name, corners in ((V1, False), (ROOM, True)):
        network = load(write(name)).network
        raw = network.run(network.pixels(rgb))
        theirs = torch.nn.functional.interpolate(
            raw, rgb.shape[:2], mode='bilinear', align_corners=corners
        )
        torch.testing.assert_close(network.maps(rgb), theirs[0, 0])


def test_dtype_and_input_size(write, rgb):
    half = load(write(ROOM), dtype=torch.bfloat16, input_size=28)
    assert half.network.model.dtype == torch.bfloat16
    assert half.network.pixels(rgb).shape == (1, 3, 28, 42)
    assert half.estimate(rgb).depth_m.dtype == np.float32
    with pytest.raises(DepthError, match='input_size: 30; wanted a multiple of 14'):
        load(write(), input_size=30)
    with pytest.raises(DepthError, match='revision goes with a hub id'):
        load(write(), revision='main')


class Runs:
    """Pickled, it runs a command when it is loaded with code."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


def test_a_file_with_code_in_it_is_not_run(write, tmp_path):
    marker = tmp_path / 'ran'
    path = write(change=lambda state: state.update({'pretrained.cls_token': Runs(marker)}))
    with pytest.raises(DepthError, match='holds more than tensors, so that loading it could run'):
        load(path)
    path.write_bytes(pickle.dumps(Runs(marker)))
    with pytest.raises(DepthError, match='not a whole file') as refused:
        load(path)
    assert '\n' not in str(refused.value)
    assert not marker.exists()


def test_files_that_are_cut_off_or_none_at_all(write, tmp_path):
    path = write()
    whole = path.read_bytes()
    for size in (0, 1000, len(whole) // 2, len(whole) - 1000):
        path.write_bytes(whole[:size])
        with pytest.raises(DepthError, match='not a whole file') as refused:
            load(path)
        assert '\n' not in str(refused.value)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'no weights')
    with pytest.raises(DepthError, match='cannot be loaded') as refused:
        load(path)
    assert '\n' not in str(refused.value)
    with pytest.raises(DepthError, match='no such file'):
        load(tmp_path / 'nowhere' / V2)


def without(name):
    return lambda state: state.pop(name)


def given(name, value):
    return lambda state: state.update({name: value})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (without('depth_head.projects.3.bias'), r'lacks 1 tensors, depth_head\.projects\.3\.bias'),
        (given('pretrained.register', torch.zeros(2)), 'has unknown 1 tensors, pretrained.regi'),
        (without('pretrained.blocks.11.norm1.weight'), r'encoder of 11 layers; wanted ViT-S, B'),
        (given('depth_head.projects.1.weight', torch.zeros(8, 1, 1, 1)), 'other shapes than'),
        (given('pretrained.cls_token', torch.zeros(1, 1, 65)), 'is not Depth Anything'),
        (given('pretrained.cls_token', torch.zeros(())), 'is not Depth Anything'),
        (given('pretrained.cls_token', 3), 'not a state dict'),
        (lambda state: state.clear(), 'encoder of 0 layers'),
    ],
)
def test_tensors_of_something_else(write, change, message):
    with pytest.raises(DepthError, match=message) as refused:
        load(write(change=change))
    assert '\n' not in str(refused.value)


def test_a_list_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / V2)
    with pytest.raises(DepthError, match='not a state dict'):
        load(tmp_path / V2)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mine.pth', 'nothing else tells V1 from V2 and disparity from metres'),
        ('depth_anything_v2_vitg.pth', r'depth_anything_v2_vit\{s,b,l\}\.pth'),
        ('depth_anything_metric_depth_indoor.pt', 'are ZoeDepth on another encoder'),
    ],
)
def test_a_name_that_does_not_tell(write, name, message):
    with pytest.raises(DepthError, match=message):
        load(write(name))


def test_what_is_published():
    assert len(PUBLISHED) == 12
    for name, file in PUBLISHED.items():
        assert re.fullmatch('[0-9a-f]{64}', file.sha256)
        assert file.place.startswith('https://huggingface.co/')
        assert (file.version == 1) == ('v2' not in name)
        assert (file.kind == 'metric') == ('metric' in name)
        assert published(f'{file.place}{name}?download=true') is file
    assert len({file.sha256 for file in PUBLISHED.values()}) == 12
    depths = {'hypersim': 20, 'vkitti': 80}
    for scene, depth in depths.items():
        found = {f.max_depth_m for name, f in PUBLISHED.items() if scene in name}
        assert found == {depth}


@pytest.fixture
def served(write, tmp_path, monkeypatch):
    """A file at a URL, its hash, and the folder where downloads are kept."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    path = write(ROOM)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.as_uri(), sha256, tmp_path / 'torch' / 'hub' / 'checkpoints'


def test_a_url_with_its_hash(served, write, rgb, capsys):
    url, sha256, kept = served
    found = load(f'{url}#sha256={sha256}').estimate(rgb).depth_m
    np.testing.assert_array_equal(found, load(write(ROOM)).estimate(rgb).depth_m)
    assert [p.name for p in kept.iterdir()] == [f'{ROOM[:-4]}-{sha256}.pth']
    assert capsys.readouterr().out == ''  # which may be someone's JSON
    assert load(f'{url}#sha256={sha256}').kind == 'metric'
    (file,) = kept.iterdir()
    file.write_bytes(write(V2).read_bytes())
    with pytest.raises(DepthError, match='kept from a download, was changed since; delete it'):
        load(f'{url}#sha256={sha256}')


def test_a_url_without_its_hash_or_with_another(served):
    url, sha256, kept = served
    other = f'{"0" * 63}1'
    for end, message in (
        ('', f'expected "{PUBLISHED[ROOM].sha256}", got "{sha256}"'),  # that of the authors' file
        (f'#sha256={other}', f'expected "{other}", got "{sha256}"'),
        (f'#sha256={sha256[:20]}', 'wanted #sha256= and 64 hexadecimal digits'),
        (f'#{sha256}', 'wanted #sha256= and 64 hexadecimal digits'),
    ):
        with pytest.raises(DepthError, match=message) as refused:
            load(url + end)
        assert '\n' not in str(refused.value)
        assert not kept.exists() or not list(kept.iterdir())
    with pytest.raises(DepthError, match='nothing else tells'):
        load(f'{url[: -len(ROOM)]}mine.pth#sha256={sha256}')
    with pytest.raises(DepthError, match='cannot be downloaded'):
        load(f'{url[: -len(ROOM)]}nowhere/{ROOM}#sha256={sha256}')


def test_a_published_name_is_downloaded(served, write, monkeypatch, tmp_path):
    url, sha256, kept = served
    place = url[: -len(ROOM)]
    monkeypatch.setitem(PUBLISHED, ROOM, Published(2, place, sha256, 20))
    monkeypatch.chdir(tmp_path.parent)  # where no file has that name
    assert load(ROOM).kind == 'metric'
    assert len(list(kept.iterdir())) == 1
    monkeypatch.setitem(PUBLISHED, ROOM, Published(2, place, PUBLISHED[V2].sha256, 20))
    with pytest.raises(DepthError, match='invalid hash value'):
        load(ROOM)
    monkeypatch.chdir(tmp_path)
    assert load(ROOM).kind == 'metric'  # the file here
