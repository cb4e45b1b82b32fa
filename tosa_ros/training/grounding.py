"""Grounding: which patches a name in a question is about, as a target for some attention heads.

Left to the answers alone, a small language model takes thousands of steps to find out that a
name is to be looked up among the image tokens. The simulator knows, so it says so.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

NAMES = 3  # looked up in a question, at most
PROBED = 5  # numbers read off a name: column, row, depth, count, first frame
LAYER, HEADS = 1, 2  # of the language model: its second layer's first heads learn to look names up
_THINGS = ('thing', 'things', 'object', 'objects')


class NameFinder:
    """Finds names in token ids: [colour] shape, colour thing, or a colour alone."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, shapes: tuple[str, ...], colours: tuple[str, ...]
    ) -> None:
        def only(word: str) -> int | None:
            ids = tokenizer.encode(f' {word}', add_special_tokens=False)
            return ids[0] if len(ids) == 1 else None

        self.shapes = {
            only(form): i
            for i, shape in enumerate(shapes)
            for form in (shape, f'{shape}s', f'{shape}es')
        }
        self.colours = {only(colour): i for i, colour in enumerate(colours)}
        self.things = {only(word) for word in _THINGS}
        for known in (self.shapes, self.colours):
            known.pop(None, None)

    def find(self, ids: list[int]) -> list[tuple[int, int, int]]:
        """(position of the name's last token, shape or -1, colour or -1), at most NAMES."""
        found = []
        colour = -1
        for i, token in enumerate(ids):
            if token in self.colours:
                colour = self.colours[token]
                following = ids[i + 1] if i + 1 < len(ids) else None
                if following not in self.shapes and following not in self.things:
                    found.append((i, -1, colour))
                    colour = -1
            elif token in self.shapes:
                found.append((i, self.shapes[token], colour))
                colour = -1
            elif token in self.things and colour >= 0:
                found.append((i, -1, colour))
                colour = -1
        return found[:NAMES]


def grounding_targets(
    names: np.ndarray, objects: np.ndarray, instances: np.ndarray, grid: int, opening: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where in the prefix each name should be looked up, and how many of it there are.

    Args:
        names: (B, Q, NAMES, 3) int: position, shape, colour; position -1 for no name.
        objects: (B, K, 4) uint8, shape and colour first. instances: (B, F, H, W), -1 none.
        grid: patches a side. opening: tokens before the first image.

    Returns:
        (B, Q, NAMES, P) bool: the patches that show what is named; the tokens after the images
        when nothing does; all false where there is no name. And (B, Q, NAMES) float32: how many
        objects of that name are seen.
    """
    B, F = instances.shape[:2]
    K = objects.shape[1]
    step = instances.shape[-1] // (2 * grid)
    cells = instances[:, :, step // 2 :: step, step // 2 :: step]
    cells = cells.reshape(B, F, grid, 2, grid, 2).transpose(0, 1, 2, 4, 3, 5)
    cells = cells.reshape(B, F * grid * grid, 4, 1)
    shows = (cells == np.arange(K)).any(2)  # (B, F * T, K)
    shape, colour = names[..., 1, None], names[..., 2, None]
    fits = ((shape < 0) | (shape == objects[:, None, None, :, 0])) & (
        (colour < 0) | (colour == objects[:, None, None, :, 1])
    )
    Q, N = names.shape[1:3]
    patches = fits.reshape(B, Q * N, K).astype(np.float32) @ shows.transpose(0, 2, 1).astype(
        np.float32
    )
    patches = (patches > 0).reshape(B, Q, N, F, grid * grid)
    absent = ~patches.any((-1, -2), keepdims=True)
    per_frame = np.concatenate((patches, absent.repeat(F, -2)), -1).reshape(B, Q, N, -1)
    before = np.zeros((B, Q, N, opening), bool)
    counts = (fits & shows.any(1)[:, None, None]).sum(-1).astype(np.float32)
    return np.concatenate((before, per_frame), -1) & (names[..., :1] >= 0), counts


def grounding_loss(weights: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of how much attention falls on what is named, averaged over names.

    Args:
        weights: (B, HEADS, Q, L, P) attention of question tokens to the prefix.
        positions: (B, Q, NAMES), -1 for no name. targets: (B, Q, NAMES, P) bool.
    """
    B, H, Q, _, P = weights.shape
    rows = positions.clamp(min=0)[:, None, ..., None].expand(B, H, Q, positions.shape[-1], P)
    on_it = (weights.gather(3, rows).float() * targets[:, None]).sum(-1)
    known = (positions >= 0)[:, None].expand_as(on_it).float()
    return -((on_it + 1e-4).log() * known).sum() / known.sum().clamp(min=1)


def probe_targets(
    shown: Tensor, counts: Tensor, log_depth: Tensor, known: Tensor, opening: int, frames: int
) -> tuple[Tensor, Tensor]:
    """What a token that has looked a name up should know of it.

    A place is known of single views only: in several, a name has no one place. The first frame
    is known of episodes only.

    Args:
        shown: (B, Q, NAMES, P) bool. counts: (B, Q, NAMES).
        log_depth, known: (B * frames, C, C) as in `Labels`, C twice the patches a side.

    Returns:
        (B, Q, NAMES, 5): column and row of the middle in -1..1, log depth, count / 5, first
        frame that shows it / 8; and which of them are known, a mask of the same shape.
    """
    side = log_depth.shape[-1] // 2
    by_frame = shown[..., opening:].unflatten(-1, (frames, side * side + 1))[..., :-1]
    if frames == 1:
        place, seen = _places(by_frame.squeeze(-2).float(), log_depth, known)
        first = torch.zeros_like(place[..., :1])
        timed = torch.zeros_like(seen[..., :1])
    else:
        place = torch.zeros((*shown.shape[:-1], 3), device=shown.device)
        seen = torch.zeros_like(place, dtype=torch.bool)
        in_frame = by_frame.any(-1)
        first = in_frame.float().argmax(-1, keepdim=True).float() / 8
        timed = in_frame.any(-1, keepdim=True)
    named = shown.any(-1, keepdim=True)
    values = torch.cat((place, counts[..., None] / 5, first), -1)
    return values, torch.cat((seen, named, timed), -1)


def _places(patches: Tensor, log_depth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """(B, Q, NAMES, 3): middle and log depth of the patches (B, Q, NAMES, T) that show a name."""
    side = log_depth.shape[-1] // 2
    total = patches.sum(-1, keepdim=True)
    share = patches / total.clamp(min=1)
    line = torch.linspace(-1, 1, side, device=patches.device)
    depth = torch.where(known, log_depth, 0.0).unflatten(1, (side, 2)).unflatten(3, (side, 2))
    depth = depth.mean((2, 4)).flatten(1)  # holes are few, and count as one metre
    places = torch.stack((line.repeat(side), line.repeat_interleave(side)), -1)
    places = places.expand(depth.shape[0], -1, -1)
    values = torch.cat((places, depth[..., None]), -1)  # (B, T, 3)
    looked_up = torch.einsum('bqnt,btv->bqnv', share, values)
    return looked_up, (total > 0).expand_as(looked_up)


def probe_loss(read: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of what is read off the names' hidden states."""
    weight = mask.float()
    return ((read.float() - targets).abs() * weight).sum() / weight.sum().clamp(min=1)
