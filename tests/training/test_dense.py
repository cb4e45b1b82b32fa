from __future__ import annotations

import numpy as np
import torch

from tosa_ros.training.dense import DenseHead, make_labels


def test_labels_of_a_known_view():
    instances = torch.full((1, 128, 128), -1, dtype=torch.int8)
    instances[0, 32:64, 64:96] = 1
    depth = torch.full((1, 128, 128), 2.0)
    depth[0, :, :64] = np.nan
    objects = torch.full((1, 3, 5), 255, dtype=torch.uint8)
    objects[0, 1] = torch.tensor([4, 2, 1, 0, 3], dtype=torch.uint8)
    labels = make_labels(instances, depth, objects, grid=16)
    assert labels.attributes.shape == (1, 5, 32, 32)
    inside = labels.attributes[0, 0] > 0
    assert inside[8:16, 16:24].all()
    assert inside.sum() == 64
    assert labels.attributes[0, :, 10, 20].tolist() == [5, 3, 2, 1, 4]
    assert labels.attributes[0, :, 0, 0].tolist() == [0, 0, 0, 0, 0]
    # cells 16..23 have their middle at 19.5, 8..15 at 11.5; offsets are in units of 8 cells
    assert labels.offset[0, :, 8, 16].tolist() == [3.5 / 8, 3.5 / 8]
    assert labels.middle[0, 11:13, 19:21].sum() == labels.middle.sum() == 4
    assert labels.known[0, :, :16].sum() == 0
    torch.testing.assert_close(labels.depth[0, 3, 30], torch.tensor(2.0).log())


def test_head_reads_labels_off_tokens_that_hold_them():
    torch.manual_seed(0)
    instances = torch.randint(-1, 2, (2, 16, 16)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    objects = torch.tensor([[[0, 1, 2, 0, 3], [3, 2, 0, 1, 2]]] * 2, dtype=torch.uint8)
    depth = torch.ones(2, 128, 128)
    labels = make_labels(instances.to(torch.int8), depth, objects, grid=16)
    tokens = torch.nn.functional.one_hot(instances[:, ::8, ::8].reshape(2, 256) + 1, 8).float()
    head = DenseHead(8, (4, 4, 3, 2, 4))
    optimiser = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(80):
        terms = head.loss(head(tokens), labels)
        sum(terms.values()).backward()
        optimiser.step()
        optimiser.zero_grad()
    assert all(
        terms[name] < 0.15 for name in ('shape', 'colour', 'size', 'state', 'floor', 'depth')
    )
