from __future__ import annotations

import numpy as np
import torch

from tosa_ros.synthetic import COLOURS, SHAPES
from tosa_ros.training.grounding import (
    NameFinder,
    floor_loss,
    grounding_loss,
    grounding_targets,
    probe_loss,
    probe_targets,
)
from tosa_ros.training.tokenizer import train_tokenizer

TEXTS = [
    'Which is nearer, the red ball or the blue boxes?',
    'What is the red thing?',
    'What kind of thing is blue?',
    'How many chairs are there?',
    'What is the floor made of?',
] * 3
TOKENIZER = train_tokenizer([*TEXTS, *(f' {w} {w}s' for w in (*SHAPES, *COLOURS))])
BALL, BOX, CHAIR = (SHAPES.index(s) for s in ('ball', 'box', 'chair'))
RED, BLUE = COLOURS.index('red'), COLOURS.index('blue')


def _names(text):
    ids = TOKENIZER.encode(text)
    found = NameFinder(TOKENIZER, SHAPES, COLOURS).find(ids)
    return [(TOKENIZER.decode(ids[i]).strip(), shape, colour) for i, shape, colour in found]


def test_names_are_found_at_their_last_word():
    assert _names(TEXTS[0]) == [('ball', BALL, RED), ('boxes', BOX, BLUE)]
    assert _names(TEXTS[1]) == [('thing', -1, RED)]
    assert _names(TEXTS[2]) == [('blue', -1, BLUE)]
    assert _names(TEXTS[3]) == [('chairs', CHAIR, -1)]
    assert _names(TEXTS[4]) == []


def test_targets_are_the_patches_that_show_what_is_named():
    instances = np.full((1, 2, 128, 128), -1, np.int8)
    instances[0, 1, 8:16, 16:32] = 1  # second view, patch row 1, columns 2 and 3
    objects = np.array([[[BALL, BLUE, 0, 0, 1], [BALL, RED, 0, 0, 2], [255] * 5]], np.uint8)
    names = np.array([[[[4, BALL, RED], [7, BALL, BLUE], [-1, -1, -1]]]])
    targets, counts, floors = grounding_targets(names, objects, instances, grid=16, opening=3)
    assert targets.shape == (1, 1, 3, 3 + 2 * 257)
    second = 3 + 257
    assert np.flatnonzero(targets[0, 0, 0]).tolist() == [second + 18, second + 19]
    # nothing shows the blue ball: look at what follows each view
    assert np.flatnonzero(targets[0, 0, 1]).tolist() == [3 + 256, second + 256]
    assert not targets[0, 0, 2].any()
    assert counts[0, 0, :2].tolist() == [1, 0]
    assert floors[0, 0].tolist() == [2, -1, -1]


def test_loss_is_small_only_where_attention_falls_on_the_named():
    weights = torch.zeros(1, 1, 1, 6, 4)
    weights[0, 0, 0, 5] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    positions = torch.tensor([[[5, -1, -1]]])
    targets = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    targets[..., 0, 2:] = True
    loss = grounding_loss(weights, positions, targets)
    torch.testing.assert_close(loss, -torch.tensor(0.7001).log())


def test_probe_is_asked_for_place_depth_and_count():
    shown = torch.zeros(1, 1, 3, 3 + 257, dtype=torch.bool)
    shown[0, 0, 0, 3 + 15] = True  # the top right patch
    shown[0, 0, 1, 3 + 256] = True  # named, and not there
    depth = torch.zeros(1, 32, 32)
    depth[0, :2, 30:] = 1.5
    known = torch.ones(1, 32, 32, dtype=torch.bool)
    targets, mask = probe_targets(shown, torch.tensor([[[2.0, 0, 0]]]), depth, known, 3, 1)
    torch.testing.assert_close(targets[0, 0, 0], torch.tensor([1.0, -1.0, 1.5, 0.4, 0.0, 0.0]))
    yes, no = True, False
    assert mask[0, 0].tolist() == [[yes] * 4 + [no] * 2, [no] * 3 + [yes, no, no], [no] * 6]
    assert probe_loss(targets, targets, mask) == 0
    assert probe_loss(targets + 1, targets, mask) == 1


def test_things_of_one_name_in_two_rooms_have_no_floor():
    instances = np.full((1, 1, 128, 128), -1, np.int8)
    instances[0, 0, :32], instances[0, 0, 64:] = 0, 1
    objects = np.array([[[BALL, RED, 0, 0, 1], [BALL, BLUE, 0, 0, 3]]], np.uint8)
    names = np.array([[[[4, BALL, -1], [7, BALL, BLUE], [9, BALL, RED]]]])
    _, counts, floors = grounding_targets(names, objects, instances, grid=16, opening=3)
    assert counts[0, 0].tolist() == [2, 1, 1]
    assert floors[0, 0].tolist() == [-1, 3, 1]


def test_floor_loss_counts_known_floors_only():
    read = torch.zeros(1, 1, 3, 4)
    read[0, 0, 0, 2] = 50.0
    assert floor_loss(read, torch.tensor([[[2, -1, -1]]])) < 1e-6
    torch.testing.assert_close(
        floor_loss(read, torch.tensor([[[-1, 1, -1]]])), torch.tensor(4.0).log()
    )
    assert floor_loss(read, torch.full((1, 1, 3), -1)) == 0


def test_probe_is_asked_for_the_best_frames_place_in_an_episode():
    shown = torch.zeros(1, 1, 3, 3 + 3 * 257, dtype=torch.bool)
    third = 3 + 2 * 257
    shown[0, 0, 0, [3 + 257 + 15, third, third + 1]] = True  # second frame, and more in the third
    shown[0, 0, 1, [3 + 256, 3 + 257 + 256, third + 256]] = True  # named, and not there
    depth = torch.ones(3, 32, 32)
    depth[2] = 2.0
    targets, mask = probe_targets(shown, torch.tensor([[[1.0, 0, 0]]]), depth, depth > 0, 3, 3)
    middle = -1 + 1 / 15  # between the first two columns of 16
    expected = torch.tensor([middle, -1.0, 2.0, 0.2, 1 / 8, 2 / 8])
    torch.testing.assert_close(targets[0, 0, 0], expected)
    yes, no = True, False
    assert mask[0, 0].tolist() == [[yes] * 6, [no] * 3 + [yes, no, no], [no] * 6]
