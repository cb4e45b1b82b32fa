"""A half's weights are the checkpoint's file itself, mapped into memory: nothing is copied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tosa_ros.vlm.checkpoint import Checkpoint

MAPS = Path('/proc/self/maps')


def mapped(file):
    """Address ranges at which a file is mapped."""
    lines = [line.split() for line in MAPS.read_text().splitlines()]
    ranges = [line[0].split('-') for line in lines if line[-1] == str(file)]
    return [(int(start, 16), int(end, 16)) for start, end in ranges]


@pytest.mark.skipif(not MAPS.exists(), reason='needs /proc, which Linux has')
@pytest.mark.parametrize('half', ['load_vision', 'load_language'])
def test_weights_are_mapped_not_copied(checkpoint, half):
    model = getattr(Checkpoint.open(checkpoint).family, half)('cpu', None)
    ranges = mapped((Path(checkpoint) / 'model.safetensors').resolve())
    assert ranges
    for name, weight in model.named_parameters():
        assert any(start <= weight.data_ptr() < end for start, end in ranges), name


def test_another_type_is_one_copy(checkpoint):
    model = Checkpoint.open(checkpoint).family.load_language('cpu', torch.bfloat16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
