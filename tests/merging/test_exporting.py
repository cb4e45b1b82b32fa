"""What torch.export records of a merge is another way to the same merge, ties included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tosa_ros.merging import MergeState, PiToMe, ToFu, ToMe, ToSA, merge_layer
from tosa_ros.spatial import SpatialTokens

TOKENS, WIDE, HEADS, LAYERS = 36, 16, 4, 4


class Merges(nn.Module):
    """Two merges one after another; gives tokens, sizes and sources."""

    def __init__(self, method, remove, protected):
        super().__init__()
        self.method, self.remove, self.protected = method, remove, protected

    def forward(self, x, keys, features, weight, points):
        spatial = SpatialTokens('metric', features, weight, points)
        aware = self.method.spatial_aware
        state = MergeState.start(x, self.protected, spatial, aware)
        for layer, count in self.remove:
            x, state = merge_layer(
                self.method, x, keys[:, : x.shape[1]], state,
                remove=count, layer=layer, layers=LAYERS,
            )  # fmt: skip
        x, state = state.in_raster_order(x)
        return x, state.size, state.source, state.xyz


def inputs(batch, protected, tied, unknown):
    """tied: keys of three kinds with exact products, so that most scores are equal."""
    made = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, protected + TOKENS, WIDE, generator=made)
    if tied:
        kinds = torch.randint(3, (batch, protected + TOKENS, HEADS), generator=made)
        keys = nn.functional.one_hot(kinds, WIDE // HEADS).float()
    else:
        keys = torch.randn(batch, protected + TOKENS, HEADS, WIDE // HEADS, generator=made)
    features = torch.randint(0, 2, (batch, TOKENS, 30), generator=made).float()
    weight = (torch.rand(batch, TOKENS, generator=made) > unknown).float()
    points = torch.rand(batch, TOKENS, 3, generator=made)
    points[weight == 0] = torch.nan
    return x, keys, features * weight[..., None], weight, points


METHODS = [
    ToMe(), ToMe(targets_at='alternate'), ToFu(), ToFu(prune_layers=4), ToFu(prune_layers=0),
    PiToMe(), ToSA(), ToSA(heads='mean', ward=0), ToSA(alpha=0.0), ToSA(alpha='increase', ward=1),
]  # fmt: skip


@pytest.mark.parametrize('tied', [True, False])
@pytest.mark.parametrize(('batch', 'protected'), [(1, 0), (2, 1)])
@pytest.mark.parametrize('method', METHODS, ids=repr)
def test_the_recorded_merge_is_the_eager_one(method, batch, protected, tied):
    merges = Merges(method, [(1, 5), (3, 19)], protected).eval()
    given = inputs(batch, protected, tied, unknown=0.3)
    wanted = merges(*given)
    got = torch.export.export(merges, given).module()(*given)
    assert torch.equal(got[2], wanted[2])
    assert torch.equal(got[1], wanted[1])
    torch.testing.assert_close(got[0], wanted[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got[3], wanted[3], rtol=1e-5, atol=1e-6, equal_nan=True)


def test_ties_are_there():
    _, keys, *_ = inputs(1, 0, tied=True, unknown=0.3)
    scores = torch.einsum('bthc,bshc->bts', keys, keys)[0]
    assert scores.flatten().unique().numel() <= HEADS + 1
