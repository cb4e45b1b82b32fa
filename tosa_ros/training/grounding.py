"""Grounding: which patches a name in a question is about, as a target for some attention heads.

Left to the answers alone, a small language model takes thousands of steps to find out that a
name is to be looked up among the image tokens. The simulator knows, so it says so.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerFast

NAMES = 3  # looked up in a question, at most
PROBED = 6  # numbers read off a name: column, row, depth, count, first frame, best frame
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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where in the prefix each name should be looked up, and how many of it there are.

    Args:
        names: (B, Q, NAMES, 3) int: position, shape, colour; position -1 for no name.
        objects: (B, K, 5) uint8: shape, colour, size, state, floor of the room.
        instances: (B, F, H, W), -1 none. grid: patches a side.
        opening: tokens before the first image.

    Returns:
        (B, Q, NAMES, P) bool: the patches that show what is named; the tokens after the images
        when nothing does; all false where there is no name. (B, Q, NAMES) float32: how many
        objects of that name are seen; int64: the floor of their room, -1 where there is not one.
    """
    B, frames = instances.shape[:2]
    K = objects.shape[1]
    step = instances.shape[-1] // (2 * grid)
    cells = instances[:, :, step // 2 :: step, step // 2 :: step]
    cells = cells.reshape(B, frames, grid, 2, grid, 2).transpose(0, 1, 2, 4, 3, 5)
    cells = cells.reshape(B, frames * grid * grid, 4, 1)
    shows = (cells == np.arange(K)).any(2)  # (B, frames * T, K)
    shape, colour = names[..., 1, None], names[..., 2, None]
    fits = ((shape < 0) | (shape == objects[:, None, None, :, 0])) & (
        (colour < 0) | (colour == objects[:, None, None, :, 1])
    )
    Q, N = names.shape[1:3]
    patches = fits.reshape(B, Q * N, K).astype(np.float32) @ shows.transpose(0, 2, 1).astype(
        np.float32
    )
    patches = (patches > 0).reshape(B, Q, N, frames, grid * grid)
    absent = ~patches.any((-1, -2), keepdims=True)
    per_frame = np.concatenate((patches, absent.repeat(frames, -2)), -1).reshape(B, Q, N, -1)
    before = np.zeros((B, Q, N, opening), bool)
    shown = np.concatenate((before, per_frame), -1) & (names[..., :1] >= 0)
    meant = fits & shows.any(1)[:, None, None] & (names[..., :1] >= 0)
    floors = np.where(meant, objects[:, None, None, :, 4].astype(np.int64), -1)
    floor = floors.max(-1)
    floor[((floors != floor[..., None]) & meant).any(-1)] = -1
    return shown, meant.sum(-1).astype(np.float32), floor


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

    Of several frames, the place is that in the frame that shows the name largest.

    Args:
        shown: (B, Q, NAMES, P) bool. counts: (B, Q, NAMES).
        log_depth, known: (B * frames, C, C) as in `Labels`, C twice the patches a side.

    Returns:
        (B, Q, NAMES, 6): column and row of the middle in -1..1, log depth, count / 5, first
        frame that shows it / 8, the one that shows it best / 8; and which of them are known, a
        mask of the same shape.
    """
    side = log_depth.shape[-1] // 2
    by_frame = shown[..., opening:].unflatten(-1, (frames, side * side + 1))[..., :-1]
    in_frame = by_frame.sum(-1)
    first = (in_frame > 0).float().argmax(-1, keepdim=True)
    best = in_frame.argmax(-1, keepdim=True)
    at_best = by_frame.gather(-2, best[..., None].expand(*best.shape, side * side)).squeeze(-2)
    place = _places(at_best.float(), best.squeeze(-1), log_depth, known, frames)
    seen = (in_frame > 0).any(-1, keepdim=True)
    timed = seen if frames > 1 else torch.zeros_like(seen)
    named = shown.any(-1, keepdim=True)
    values = torch.cat((place, counts[..., None] / 5, first / 8, best / 8), -1)
    return values, torch.cat((seen, seen, seen, named, timed, timed), -1)


def _places(
    patches: Tensor, frame: Tensor, log_depth: Tensor, known: Tensor, frames: int
) -> Tensor:
    """(B, Q, NAMES, 3): middle and log depth of the patches (B, Q, NAMES, T) of `frame`."""
    side = log_depth.shape[-1] // 2
    share = patches / patches.sum(-1, keepdim=True).clamp(min=1)
    line = torch.linspace(-1, 1, side, device=patches.device)
    depth = torch.where(known, log_depth, 0.0).unflatten(1, (side, 2)).unflatten(3, (side, 2))
    depth = depth.mean((2, 4)).flatten(1)  # holes are few, and count as one metre
    of_sample = torch.arange(len(patches), device=patches.device).view(-1, 1, 1) * frames
    deep = (share * depth[of_sample + frame]).sum(-1, keepdim=True)
    places = torch.stack((line.repeat(side), line.repeat_interleave(side)), -1)
    return torch.cat((share @ places, deep), -1)


def floor_loss(read: Tensor, floors: Tensor) -> Tensor:
    """Cross-entropy of the floor of the room that a named thing is in; 0 where none is known.

    Args:
        read: (B, Q, NAMES, floors). floors: (B, Q, NAMES), -1 unknown.
    """
    known = (floors >= 0).sum().clamp(min=1)
    total = F.cross_entropy(
        read.float().flatten(0, 2), floors.flatten(), ignore_index=-1, reduction='sum'
    )
    return total / known


def probe_loss(read: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of what is read off the names' hidden states."""
    weight = mask.float()
    return ((read.float() - targets).abs() * weight).sum() / weight.sum().clamp(min=1)
