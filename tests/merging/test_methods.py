"""Every method against the slow reference, and properties that must hold for any input."""

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from reference import merging as slow
from reference.surfaces import surfaces

from tosa_ros.errors import MergingError
from tosa_ros.merging import (
    METHODS,
    MergeState,
    NoMerging,
    PiToMe,
    ToFu,
    ToMe,
    ToSA,
    merge_layer,
    unmerge,
)
from tosa_ros.merging.matching import sides
from tosa_ros.spatial import PatchGrid, level_tokens, metric_tokens

MERGERS = [ToMe, ToFu, PiToMe, ToSA]
AVERAGING = [ToMe, PiToMe, ToSA]
CAMERA = torch.tensor([40.0, 40.0, 24.0, 20.0])


def random_layers(seed, batch, tokens, layers, dim=12, channels=6):
    """Fixed random maps that stand in for an encoder: keys and updates from the tokens."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, tokens, dim, generator=g)
    to_key = [torch.randn(dim, channels, generator=g) for _ in range(layers)]
    update = [torch.randn(dim, dim, generator=g) * 0.3 for _ in range(layers)]
    return x, to_key, update


def by_head(keys):
    """(..., T, 6) -> (..., T, 2, 3): keys of two heads."""
    return keys.unflatten(-1, (2, 3))


def run(method, x, to_key, update, spatial=None, protected=0):
    layers = len(to_key)
    state = MergeState.start(x, protected, spatial)
    for layer, remove in enumerate(method.removals(x.shape[1] - protected, layers)):
        x = x + torch.tanh(x @ update[layer])
        keys = by_head(x @ to_key[layer])
        x, state = merge_layer(method, x, keys, state, remove=remove, layer=layer, layers=layers)
    return state.in_raster_order(x)


def run_slow(method, x, to_key, update, places=None, kind=None, protected=0):
    layers = len(to_key)
    tokens = slow.start(x.tolist(), places)
    for layer, remove in enumerate(method.removals(len(tokens), layers)):
        v = torch.tensor([t['x'] for t in tokens])
        v = v + torch.tanh(v @ update[layer])
        for token, row in zip(tokens, v.tolist(), strict=True):
            token['x'] = row
        keys = by_head(v @ to_key[layer]).tolist()
        tokens = slow.layer(tokens, keys, method, remove, layer, layers, kind, protected)
    return slow.raster(tokens)


def check_same(tokens, state, expected, patches):
    assert tokens.shape[0] == len(expected)
    for slot, token in enumerate(expected):
        assert (state.source[0] == slot).nonzero()[:, 0].tolist() == token['patches']
        assert float(state.size[0, slot]) == pytest.approx(token['size'])
    dropped = set(range(patches)) - {p for t in expected for p in t['patches']}
    assert (state.source[0] < 0).nonzero()[:, 0].tolist() == sorted(dropped)
    want = torch.tensor([t['x'] for t in expected])
    torch.testing.assert_close(tokens, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('merge_at', ['few', 'every', (0,), (1, 2)])
@pytest.mark.parametrize('keep', [0.1, 0.25, 0.6])
@pytest.mark.parametrize('method', [ToMe, ToFu, PiToMe, partial(ToFu, prune_layers=1)])
def test_semantic_methods_equal_the_reference(method, keep, merge_at, seed):
    method = method(keep=keep, merge_at=merge_at)
    x, to_key, update = random_layers(seed, 1, 23, 4)
    tokens, state = run(method, x, to_key, update)
    check_same(tokens[0], state, run_slow(method, x[0], to_key, update), 23)


def scene(seed, holes=True):
    g = torch.Generator().manual_seed(seed)
    depth = torch.rand(40, 48, generator=g) * 2 + 0.5
    depth[:, 20:] += 3
    if holes:
        depth[5:22, 7:30] = float('nan')
    return depth, PatchGrid.over(5, 6, 48, 40)


@pytest.mark.parametrize('alpha', [0.98, 'increase', 'decrease', 'spatial', [0.1, 0.9, 0.4]])
@pytest.mark.parametrize('kind', ['levels', 'metric'])
@pytest.mark.parametrize(('keep', 'ward'), [(0.2, 0.5), (0.5, 1), (0.2, 0)])
@pytest.mark.parametrize('heads', ['each', 'mean'])
@pytest.mark.parametrize('merge_at', ['most', 'few', 'every', (1,)])
def test_tosa_equals_the_reference(kind, alpha, merge_at, keep, ward, heads):
    method = ToSA(keep=keep, merge_at=merge_at, alpha=alpha, spatial=kind, ward=ward, heads=heads)
    depth, grid = scene(3)
    if kind == 'metric':
        spatial = metric_tokens(depth, CAMERA, grid)
        places = surfaces(depth, CAMERA, grid)
    else:
        spatial = level_tokens((depth / depth.nan_to_num(0).max()).clamp(0, 1), grid)
        known = (spatial.weight[0] > 0).tolist()
        codes = spatial.features[0].tolist()
        places = [code if k else None for code, k in zip(codes, known, strict=True)]
    assert 0 < places.count(None) < 30
    assert [place is None for place in places] == (spatial.weight[0] == 0).tolist()
    x, to_key, update = random_layers(11, 1, 30, 3)
    tokens, state = run(method, x, to_key, update, spatial)
    check_same(tokens[0], state, run_slow(method, x[0], to_key, update, places, kind), 30)


def test_tosa_without_depth_goes_by_keys_alone():
    x, to_key, update = random_layers(5, 2, 20, 3)
    nowhere = torch.full((40, 48), float('nan'))
    spatial = metric_tokens(nowhere, CAMERA, PatchGrid.over(4, 5, 48, 40))
    blank = type(spatial)(
        'metric', spatial.features.repeat(2, 1, 1), spatial.weight.repeat(2, 1), None
    )
    plain = ToSA(keep=0.3, heads='mean', ward=0)
    expected = run(ToMe(keep=0.3), x, to_key, update)[0]
    sized = run(ToSA(keep=0.3), x, to_key, update)[0]
    for given in (None, blank):
        assert torch.equal(run(plain, x, to_key, update, given)[0], expected)
        assert torch.equal(run(ToSA(keep=0.3), x, to_key, update, given)[0], sized)


def published_pairs(keys, r, class_tokens):
    """ToMe's rule as its paper and code have it: of all tokens, class tokens among them, those at
    even places pick the best of those at odd places; class tokens neither go nor take."""
    best = []
    for i in range(class_tokens + class_tokens % 2, len(keys), 2):
        odd = [j for j in range(1, len(keys), 2) if j >= class_tokens]
        scores = [slow.cosine(keys[i], keys[j]) for j in odd]
        top = max(scores)
        best.append((top, i, odd[scores.index(top)]))
    best.sort(key=lambda edge: (-edge[0], edge[1]))
    return sorted((i - class_tokens, j - class_tokens) for _, i, j in best[:r])


@pytest.mark.parametrize('class_tokens', [0, 1, 2, 5])
@pytest.mark.parametrize(('tokens', 'r'), [(16, 3), (17, 8), (36, 18), (49, 24), (50, 7)])
@pytest.mark.parametrize('seed', range(3))
def test_tome_assigns_as_published(tokens, r, class_tokens, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(1, class_tokens + tokens, 6, generator=g)
    keys = torch.randn(1, class_tokens + tokens, 2, 3, generator=g)
    state = MergeState.start(x, class_tokens)
    method = ToMe(r=r, targets_at='alternate')
    match = method.match(keys[:, class_tokens:], r, layer=0, layers=1, state=state)
    pairs = zip(match.removed[0].tolist(), match.target[0].tolist(), strict=True)
    assert sorted(pairs) == published_pairs(keys.mean(dim=2)[0].tolist(), r, class_tokens)


@pytest.mark.parametrize('protected', [1, 4])
@pytest.mark.parametrize('method', [ToMe, ToFu, ToSA])
def test_class_tokens_count_in_the_alternation(method, protected):
    x, to_key, update = random_layers(6, 1, 21 + protected, 3)
    # Class tokens take no part in the stand-in's layers, so the slow run needs none.
    tokens, state = run(method(r=4), x, to_key, update, protected=protected)
    expected = run_slow(method(r=4), x[0, protected:], to_key, update, protected=protected)
    state = dataclasses.replace(state, home=state.home - protected, sums=state.sums[:, protected:])
    check_same(tokens[0, protected:], state, expected, 21)


def test_the_papers_tosa_has_its_settings():
    method = ToSA.paper(keep=0.1)
    assert (method.spatial, method.alpha, method.merge_at) == ('levels', 'increase', 'every')
    assert (method.heads, method.ward, method.targets_at) == ('mean', 0, 'alternate')
    assert ToSA.paper(alpha='uniform').alpha == 'uniform'


@pytest.mark.parametrize('method', MERGERS)
@pytest.mark.parametrize('tokens', [1, 2, 3, 7, 16, 50, 729])
@pytest.mark.parametrize('layers', [1, 2, 12, 26])
@pytest.mark.parametrize('keep', [0.001, 0.1, 0.25, 0.5, 0.77, 1.0])
def test_keep_is_met_whatever_tokens_and_depth(method, tokens, layers, keep):
    plan = method(keep=keep).removals(tokens, layers)
    assert len(plan) == layers
    assert min(plan) >= 0
    left = tokens - sum(plan)
    assert left >= 1
    assert abs(left - max(1, keep * tokens)) <= 1


@pytest.mark.parametrize('method', MERGERS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('protected', [0, 1, 5])
def test_class_tokens_stay_and_keep_is_met(method, dtype, protected):
    x, to_key, update = random_layers(1, 2, 40 + protected, 3)
    x, to_key, update = x.to(dtype), [k.to(dtype) for k in to_key], [u.to(dtype) for u in update]
    tokens, state = run(method(keep=0.25), x, to_key, update, protected=protected)
    assert tokens.dtype == dtype
    assert tokens.shape[1] == protected + 10
    assert (state.size[:, :protected] == 1).all()
    for layer in range(3):
        x = x + torch.tanh(x @ update[layer])
    assert torch.equal(tokens[:, :protected], x[:, :protected])


@pytest.mark.parametrize('method', AVERAGING)
@pytest.mark.parametrize('keep', [0.03, 0.25, 0.9])
def test_every_patch_is_in_exactly_one_token(method, keep):
    x, to_key, update = random_layers(2, 3, 37, 5)
    tokens, state = run(method(keep=keep), x, to_key, update)
    count = tokens.shape[1]
    assert (state.size.sum(dim=1) == 37).all()
    assert int(state.source.min()) == 0
    for b in range(3):
        assert torch.equal(torch.bincount(state.source[b], minlength=count).float(), state.size[b])
        first = [(state.source[b] == t).nonzero()[0, 0] for t in range(count)]
        assert first == sorted(first)


def test_tofu_prunes_then_merges():
    x, to_key, update = random_layers(2, 1, 40, 4)
    _, state = run(ToFu(keep=0.2), x, to_key, update)
    pruned = int((state.source < 0).sum())
    assert pruned == sum(ToFu(keep=0.2).removals(40, 4)[:2])
    assert int(state.size.sum()) == 40 - pruned
    _, state = run(ToFu(keep=0.2, prune_layers=0), x, to_key, update)
    assert int((state.source < 0).sum()) == 0


@pytest.mark.parametrize('method', MERGERS)
def test_permuting_the_batch_permutes_the_result(method):
    x, to_key, update = random_layers(7, 4, 33, 4)
    tokens, state = run(method(keep=0.3), x, to_key, update)
    order = torch.tensor([2, 0, 3, 1])
    again, other = run(method(keep=0.3), x[order], to_key, update)
    torch.testing.assert_close(again, tokens[order], rtol=0, atol=1e-6)
    assert torch.equal(other.source, state.source[order])


@pytest.mark.parametrize('method', MERGERS)
def test_the_same_input_gives_the_same_bits(method):
    x, to_key, update = random_layers(9, 2, 64, 4)
    first = run(method(keep=0.1), x, to_key, update)[0]
    assert all(torch.equal(run(method(keep=0.1), x, to_key, update)[0], first) for _ in range(3))


@pytest.mark.parametrize('method', [NoMerging(), ToMe(keep=1.0), ToSA(keep=1), PiToMe(r=0)])
def test_keeping_everything_is_the_identity(method):
    x, to_key, update = random_layers(9, 2, 20, 3)
    tokens, state = run(method, x, to_key, update)
    for layer in range(3):
        x = x + torch.tanh(x @ update[layer])
    assert torch.equal(tokens, x)
    assert torch.equal(state.source, torch.arange(20).expand(2, -1))


def test_unmerge_gives_each_patch_its_token_and_marks_pruned_ones():
    x, to_key, update = random_layers(4, 1, 24, 4)
    tokens, state = run(ToFu(keep=0.4), x, to_key, update)
    dense = unmerge(tokens, state.source)
    nearest = unmerge(tokens, state.source, fill=state.home)
    for patch, slot in enumerate(state.source[0].tolist()):
        home = int(state.home[0, patch])
        assert torch.equal(nearest[0, patch], tokens[0, home])
        if slot < 0:
            assert dense[0, patch].isnan().all()
        else:
            assert torch.equal(dense[0, patch], tokens[0, slot])
    assert (unmerge(tokens, state.source, fill=0.0)[state.source < 0] == 0).all()


@pytest.mark.parametrize(
    ('r', 'expected'),
    [
        (5, [5, 5, 5, 5]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ((4, -1.0), [8, 5, 3, 0]),
        ((4, 1.0), [0, 3, 5, 8]),
        (100, [20, 10, 5, 2]),
    ],
)
def test_r_schedules(r, expected):
    assert ToMe(r=r).removals(40, 4) == expected


@pytest.mark.parametrize(
    ('keep', 'layers', 'merging'),
    [(0.25, 12, 3), (0.25, 26, 3), (0.1, 12, 4), (0.5, 12, 2), (0.55, 12, 1), (0.1, 3, 2)],
)
def test_few_merges_take_equal_shares_and_meet_keep(keep, layers, merging):
    tokens = 1000
    plan = ToMe(keep=keep, merge_at='few').removals(tokens, layers)
    assert sum(plan) == tokens - round(tokens * keep)
    assert sum(r > 0 for r in plan) == merging
    for r in filter(None, plan):
        assert r / tokens == pytest.approx(1 - keep ** (1 / merging), abs=0.005)
        tokens -= r


@pytest.mark.parametrize('layers', [1, 2, 3, 12, 27])
def test_in_most_layers_the_side_of_the_grid_shrinks_by_equal_steps(layers):
    plan = ToMe(keep=0.25, merge_at='most').removals(10_000, layers)
    assert [at for at, r in enumerate(plan) if r] == list(range(min(1, layers - 1), layers))
    sides, tokens = [100.0], 10_000
    for r in filter(None, plan):
        tokens -= r
        sides.append(tokens**0.5)
    assert tokens == 2500
    steps = [a - b for a, b in pairwise(sides)]
    assert steps == pytest.approx([50 / len(steps)] * len(steps), abs=0.02)


def test_every_layer_removes_as_many():
    assert ToMe(keep=0.1, merge_at='every').removals(80, 6) == [12] * 6


@pytest.mark.parametrize('merge_at', [(0,), (2, 6, 9), [1, 4, 7, 10]])
@pytest.mark.parametrize('keep', [0.1, 0.25, 0.9])
def test_layers_that_merge_may_be_named(keep, merge_at):
    plan = ToMe(keep=keep, merge_at=merge_at).removals(256, 12)
    assert sum(plan) == 256 - round(256 * keep)
    assert [layer for layer, r in enumerate(plan) if r] == list(merge_at)


@pytest.mark.parametrize(('r', 'expected'), [(1, 30), (19, 30), (20, 20), (30, 15), (59, 1)])
@pytest.mark.parametrize('protected', [0, 1, 2, 5])
def test_the_more_must_go_the_fewer_targets(r, expected, protected):
    """Of 60 tokens: half are targets, or half of those that stay; the others may go."""
    two, tokens = sides(60, r, protected), torch.arange(60)[None]
    targets, movers = two.targets(tokens)[0], two.movers(tokens)[0]
    assert len(targets) == expected
    assert len(movers) >= r
    assert torch.equal(torch.cat([targets, movers]).sort().values, tokens[0])
    assert torch.equal(two.place(torch.arange(len(movers))), movers)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ToMe(keep=0), 'keep: 0; wanted a fraction'),
        (lambda: ToSA(keep=1.5), 'keep: 1.5'),
        (lambda: ToSA(keep=float('nan')), 'keep: nan'),
        (lambda: ToMe(keep='half'), "keep: 'half'"),
        (lambda: ToMe(keep=0.5, r=3), 'leave one out'),
        (lambda: ToMe(r=-1), 'r: -1'),
        (lambda: ToMe(r=3.5), 'r: 3.5'),
        (lambda: ToMe(r=[1, 2]).removals(9, 3), 'a list of 2 numbers for an encoder of 3 layers'),
        (lambda: ToMe(merge_at=2), 'merge_at: 2; wanted one of most, few, every'),
        (lambda: ToMe(merge_at=[4, 2]), 'a rising list of layers'),
        (lambda: ToMe(merge_at=[]), 'a rising list of layers'),
        (lambda: ToMe(merge_at='some'), "merge_at: 'some'; wanted one of most"),
        (lambda: ToMe(r=3, merge_at='every'), 'are both given'),
        (lambda: ToMe(merge_at=[3, 9]).removals(9, 9), 'layer 9 of an encoder whose layers'),
        (lambda: ToSA(alpha='sideways'), "alpha: 'sideways'; wanted one of increase"),
        (lambda: ToSA(alpha=[0.1, 2]), 'a weight of the semantic score in 0..1'),
        (lambda: ToSA(alpha=[0.1, 0.2]).removals(9, 4), 'a list of 2 weights for an encoder of 4'),
        (lambda: ToSA(spatial='voxels'), "spatial: 'voxels'"),
        (lambda: ToSA(length_scale_m=0), 'length_scale_m: 0'),
        (lambda: ToSA(ward=-1), 'ward: -1; wanted a number, 0 or more'),
        (lambda: ToSA(heads='all'), "heads: 'all'; wanted one of each, mean"),
        (lambda: ToMe(targets_at='odd'), "targets_at: 'odd'; wanted one of auto, alternate"),
        (lambda: ToFu(prune_layers=-2), 'prune_layers: -2'),
        (lambda: PiToMe(margin=2), 'margin: 2; wanted a number, -1 to 1'),
        (lambda: ToMe(proportional=1), 'proportional: 1; wanted true or false'),
        (lambda: NoMerging(keep=0.5), 'NoMerging keeps every token, but keep=0.5'),
        (lambda: NoMerging(r=2), 'NoMerging keeps every token, but r=2'),
        (lambda: NoMerging(merge_at='every'), "but merge_at='every' was given"),
    ],
)
def test_bad_settings_name_the_value_and_the_fix(make, message):
    with pytest.raises(MergingError, match=message.replace('(', r'\(')):
        make()


def test_the_names_on_the_command_line():
    assert sorted(METHODS) == ['none', 'pitome', 'tofu', 'tome', 'tosa']
    assert METHODS['tosa']() == ToSA(keep=0.25)


def test_numbers_may_be_numpys():
    assert ToMe(r=np.int64(4)).removals(36, 3) == ToMe(r=4).removals(36, 3)
    assert ToMe(keep=np.float32(0.5)).removals(36, 3) == ToMe(keep=0.5).removals(36, 3)
