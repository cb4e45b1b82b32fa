"""Features of a real tower: measures with known answers, baselines that keep what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.real import features, second_tower
from benchmarks.real.baselines import ALL, DartTokens, Pooled, RandomTokens, UniformGrid, at
from benchmarks.real.contenders import InTower, contenders
from benchmarks.real.depths import DEPTHS, HOLES, WRONG_SCALE, with_depth
from benchmarks.real.measured import PLAIN, Measured, Picture, small_things
from benchmarks.real.probes import OTHER, Probes, patch_labels
from benchmarks.real.towers import Tower
from tosa_ros.errors import ModelError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.merging import ToFu, ToMe, ToSA
from tosa_ros.spatial import PatchGrid


@pytest.fixture(scope='module')
def loaded(tower):
    return Tower.load(str(tower), side=70)


@pytest.fixture(scope='module')
def pixels():
    return torch.randn(2, 3, 70, 70, generator=torch.Generator().manual_seed(3))


def frame(seed=0):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1, 4, (56, 70)).astype(np.float32)
    rgb = rng.integers(0, 255, (56, 70, 3), np.uint8)
    return Frame(rgb, depth_m=depth, intrinsics=Intrinsics(60, 60, 35, 28, 70, 56))


@torch.inference_mode()
@pytest.mark.parametrize('cls', ALL)
@pytest.mark.parametrize('keep', [0.5, 0.25, 0.1])
def test_baselines_keep_what_they_say(loaded, pixels, cls, keep):
    if cls not in {type(one) for one in at(keep)}:
        assert cls is Pooled
        return
    full = PLAIN(loaded.model, pixels, None)
    merged = cls(keep)(loaded.model, pixels, None)
    kept = merged.tokens.shape[1]
    # Squares of whole patches: 5 x 5 patches pool to 3 x 3; a smaller picture is 4, 2 or 2 wide.
    wanted = {'2x2 pooling': 9, 'smaller picture': round((25 * keep) ** 0.5) ** 2}
    assert kept == wanted.get(cls.name, round(25 * keep))
    assert merged.size.shape == (2, kept)
    for b in range(2):
        counts = torch.bincount(merged.source[b][merged.source[b] >= 0], minlength=kept)
        assert torch.equal(counts.float(), merged.size[b])
        assert set(merged.nearest[b].tolist()) == set(range(kept))
        first = [int((merged.source[b] == t).nonzero()[0]) for t in range(kept)]
        assert first == sorted(first), 'raster order'
    if cls.name != 'smaller picture':
        alone = merged.size == 1
        dense = merged.unmerge(fill='nearest')
        for b, slot in alone.nonzero().tolist():
            patch = int((merged.source[b] == slot).nonzero()[0])
            torch.testing.assert_close(dense[b, patch], full.tokens[b, patch])


@torch.inference_mode()
def test_baselines_leave_the_tower_as_it_was(loaded, pixels):
    before = loaded.model(pixel_values=pixels).last_hidden_state
    for cls in ALL:
        cls(0.25)(loaded.model, pixels, None)
    assert torch.equal(loaded.model(pixel_values=pixels).last_hidden_state, before)
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_random_patches_depend_on_the_picture_alone(loaded, pixels):
    with torch.inference_mode():
        one, again = (RandomTokens(0.25)(loaded.model, pixels, None).source for _ in range(2))
        alone = RandomTokens(0.25)(loaded.model, pixels[1:], None).source
    assert torch.equal(one, again)
    assert torch.equal(one[1], alone[0])
    assert not torch.equal(one[0], one[1])


def test_a_uniform_grid_is_spread_evenly(loaded, pixels):
    with torch.inference_mode():
        source = UniformGrid(0.16)(loaded.model, pixels, None).source
    assert (source[0] >= 0).nonzero()[:, 0].tolist() == [6, 8, 16, 18]


def test_dart_keeps_what_repeats_its_pivots_least():
    chosen = DartTokens(0.5)
    full = torch.tensor([[[3.0, 0.0], [2.9, 0.1], [0.0, 1.0], [2.8, 0.0]]])
    DartTokens.pivots, pivots = 1, DartTokens.pivots
    try:
        kept = chosen.chosen(type('Full', (), {'tokens': full}), 2)[0]
    finally:
        DartTokens.pivots = pivots
    assert sorted(kept.tolist()) == [0, 2]


def test_contenders_have_the_paper_and_every_baseline():
    found = list(contenders([0.25, 0.1]))
    names = [one.name for one in found if one.keep == 0.25]
    assert names[:5] == ['ToMe', 'ToFu', 'PiToMe', 'ToSA', "ToSA, the paper's"]
    assert set(names[5:]) == {cls.name for cls in ALL}
    assert len({repr(one) for one in found}) == len(found)
    chosen = list(contenders([0.25], merge_at='few'))
    assert {one.method.merge_at for one in chosen[1:]} == {'few'}


@pytest.mark.parametrize('kind', DEPTHS)
def test_kinds_of_depth(kind):
    before = frame()
    after = with_depth(before, kind, 'a')
    if kind == 'none':
        assert after.depth_m is None
        assert after.relative_depth is None
    elif kind == 'levels':
        assert after.depth_m is None
        assert after.relative_depth.max() == 1
    elif kind == 'holes':
        missing = np.isnan(after.depth_m)
        assert missing.mean() == pytest.approx(HOLES, abs=0.05)
        assert np.array_equal(after.depth_m[~missing], before.depth_m[~missing])
        assert np.array_equal(np.isnan(with_depth(before, kind, 'a').depth_m), missing)
        assert not np.array_equal(np.isnan(with_depth(before, kind, 'b').depth_m), missing)
    elif kind == 'estimated':
        assert after.depth_m.mean() == pytest.approx(WRONG_SCALE * before.depth_m.mean(), rel=0.1)
        assert after.depth_m.std() < before.depth_m.std() / 2
    else:
        assert after is before


def test_a_patch_has_the_class_of_more_than_half_of_it():
    labels = np.zeros((4, 6), np.uint8)
    labels[:, 2:4] = 7
    labels[:2, 4] = 9  # a quarter, and the rest of the patch is nothing
    labels[2:, 4], labels[:, 5] = OTHER, OTHER
    found = patch_labels(labels, PatchGrid.over(1, 3, 6, 4))
    assert found.tolist() == [0, 7, -1]


def test_small_things_cover_little_of_the_picture():
    labels = np.array([0] * 95 + [5] * 3 + [-1] * 2)
    assert small_things(labels).nonzero()[0].tolist() == [95, 96, 97]
    labels[91:95] = 5
    assert not small_things(labels).any()


def test_what_merges_nothing_measures_as_the_same(loaded, tmp_path):
    width = 24
    probes = Probes(*(torch.zeros(width), torch.ones(width)), torch.randn(width, OTHER + 1), 0)
    picture = Picture('a', frame(), np.arange(25) % 3)
    measured = Measured(loaded, [picture], probes, tmp_path)
    found = measured.of(PLAIN)
    assert found['dense'][0] == pytest.approx(1, abs=1e-3)
    assert found['class token'][0] == pytest.approx(1, abs=1e-3)
    assert found['kl'][0] == pytest.approx(0, abs=1e-3)
    assert found['straddle'][0] == 0
    merged = measured.of(InTower('ToSA', ToSA(keep=0.25)))
    assert merged['dense'][0] < found['dense'][0]
    assert merged['straddle'][0] > 0
    again = Measured(loaded, [picture], probes, tmp_path).of(InTower('ToSA', ToSA(keep=0.25)))
    assert again['dense'][0] == pytest.approx(merged['dense'][0], abs=1e-5)
    assert len(list(tmp_path.glob('*.json'))) == 2


@torch.inference_mode()
def test_pruned_patches_have_what_stands_for_them(loaded, pixels):
    tofu = InTower('ToFu', ToFu(keep=0.25, prune_layers=2))(loaded.model, pixels, None)
    assert (tofu.source < 0).any()
    assert tofu.unmerge(fill='nearest').isfinite().all()
    assert tofu.unmerge().isnan().any()
    tome = InTower('ToMe', ToMe(keep=0.25))(loaded.model, pixels, None)
    assert torch.equal(tome.nearest, tome.source)


def test_tables_of_a_little_world(tower, nyuv2, tmp_path, capsys):
    given = ('--tower', str(tower), '--side', '70', '--nyuv2', str(nyuv2), '--keep', '0.25')
    (tmp_path / 'quality.md').write_text(
        ''.join(f'<!-- features-t-{n} --><!-- /features-t-{n} -->\n' for n in features.TABLES)
    )
    work = ('--work', str(tmp_path / 'work'), '--docs', str(tmp_path), '--name', 't', '--json')
    assert features.main([*given, *work]) == 0
    rows = json.loads(capsys.readouterr().out)
    methods = [row['method'] for row in rows['methods']]
    assert methods == ['none', *(c.name for c in contenders([0.25]) if c.keep < 1)]
    ours = next(row for row in rows['methods'] if row['method'] == 'ToSA')
    assert {'dense', 'class token', 'classes', 'depth error', 'kl', 'straddle'} < set(ours)
    tome = next(row for row in rows['methods'] if row['method'] == 'ToMe')
    gap = float(ours['dense']) - float(tome['dense'])
    assert float(tome['ToSA dense'].split()[0]) == pytest.approx(gap, abs=2e-4)
    assert [row['depth'] for row in rows['depth']] == ['reads none', *DEPTHS]
    assert all(float(row['speed-up']) > 0 for row in rows['merges'])
    text = (tmp_path / 'quality.md').read_text()
    assert text.count("| 0.25 | ToSA, the paper's |") == 1


def test_any_folder_of_frames_is_measured_without_probes(tower, tmp_path, capsys):
    from tosa_ros.sources import write_folder

    write_folder(tmp_path / 'frames', [frame(1), frame(2)])
    given = ('--tower', str(tower), '--side', '70', '--folder', str(tmp_path / 'frames'))
    rest = ('--keep', '0.25', '--tables', 'methods', '--work', str(tmp_path / 'w'), '--json')
    assert features.main([*given, *rest]) == 0
    row = json.loads(capsys.readouterr().out)['methods'][1]
    assert 'dense' in row
    assert 'straddle' in row
    assert 'classes' not in row


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (('--tower', 'absent', '--nyuv2', '.'), 'absent: no tower can be loaded'),
        (('--tower', 'TOWER', '--side', '71', '--nyuv2', '.'), 'a multiple of 14 pixels'),
        (('--tower', 'TOWER'), 'wanted one of --nyuv2 and --folder'),
        (('--tower', 'TOWER', '--nyuv2', 'absent'), 'train.jsonl: cannot be read'),
    ],
)
def test_bad_input_is_one_line(tower, capsys, given, said):
    assert features.main([str(tower) if word == 'TOWER' else word for word in given]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert 'Traceback' not in err


def test_the_second_tower_is_trained_resumed_and_loaded(nyuv2, tmp_path, capsys, monkeypatch):
    small = {'image': 32, 'width': 16, 'layers': 2, 'heads': 2, 'mlp': 32, 'batch': 4}
    recipe = second_tower.Recipe(**small, steps=6, warmup=2, save_every=2)
    assert not second_tower.train(recipe, nyuv2, tmp_path / 'a', minutes=0)
    assert second_tower.train(recipe, nyuv2, tmp_path / 'a', minutes=9)
    out = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row['step'] for row in out] == [2, 4, 6]
    found = Tower.load(str(tmp_path / 'a' / 'checkpoint'))
    assert (found.side, found.patches, found.layers) == (32, 2, 2)
    assert found.mean == (0.5, 0.5, 0.5)
    other = second_tower.Recipe(**small, steps=7)
    with pytest.raises(ModelError, match='a training by another recipe'):
        second_tower.train(other, nyuv2, tmp_path / 'a', minutes=9)
