"""PromptRows: a question and its images as the rows that the language model reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.vlm.families.base import Family, Position
from tosa_ros.vlm.prompt import Prompt
from tosa_ros.vlm.tokens import VisualTokens


@dataclass(frozen=True, eq=False)
class PromptRows:
    """A prompt: embeddings (T, D) and positions (T,) or (T, axes), with a key for each row.

    images (T,): 1 where a row is of an image, else 0. token_rows: each image, and which rows its
    tokens are. Rows of equal keys are equal: a word's id or an image's tokens, and the position.
    """

    keys: list[tuple[Any, Any]]
    embeds: Tensor
    positions: Tensor
    images: Tensor
    token_rows: list[tuple[VisualTokens, list[int]]]

    def __len__(self) -> int:
        return len(self.keys)


class RowBuilder:
    """Makes the rows of prompts for one model.

    A merged token keeps the position of the middle one of its patches, so that words and images
    are as far apart as in training: on the tiny world, packing tokens closely instead costs ten
    points at keep 0.25. Where the original positions exceed what the model reads, they are packed.
    """

    def __init__(self, model: PreTrainedModel, prompt: Prompt, family: Family) -> None:
        self.prompt = prompt
        self.family = family
        self._embed = model.get_input_embeddings()
        family.place(self._embed.weight, prompt.tokenizer)
        text = model.config.get_text_config()
        self.context = getattr(text, 'max_position_embeddings', None) or sys.maxsize

    @torch.inference_mode()
    def rows(
        self, tokens: Sequence[VisualTokens], question: str, max_new_tokens: int = 0
    ) -> PromptRows:
        """The prompt of a question about these images."""
        parts = [
            (number, part)
            for number, image in enumerate(tokens)
            for part in self.family.parts(image)
        ]
        ids = self._ids(question, tokens, len(parts))
        weight = self._embed.weight
        # Some models have no embedding for the image's placeholder.
        known = [0 if i == self.prompt.image_token_id else i for i in ids]
        words = self.family.words(self._embed(torch.tensor(known, device=weight.device)))
        images = iter(parts)
        keys: list[int | VisualTokens] = []
        places: list[Position] = []
        pieces: list[Tensor] = []
        token_rows: list[tuple[VisualTokens, list[int]]] = [(image, []) for image in tokens]
        start = 0
        for i, word in zip(ids, words, strict=True):
            if i != self.prompt.image_token_id:
                keys.append(i)
                places.append(self.family.at(start))
                pieces.append(word[None])
                start += 1
                continue
            number, part = next(images)
            rows = token_rows[number][1]
            rows += [len(keys) + row for row in self.family.token_rows(part)]
            positions, start = self.family.positions(part, start)
            keys += [tokens[number]] * len(positions)
            places += positions
            pieces += [row.to(weight.device, weight.dtype) for row in self.family.rows(part)]
        _check_widths(pieces, words.shape[1])
        if start + max_new_tokens > self.context:
            places = self.family.packed(places)
        return PromptRows(
            keys=list(zip(keys, places, strict=True)),
            embeds=torch.cat(pieces),
            positions=torch.tensor(places, device=weight.device),
            images=torch.tensor(
                [int(isinstance(key, VisualTokens)) for key in keys], device=weight.device
            ),
            token_rows=token_rows,
        )

    def _ids(self, question: str, tokens: Sequence[VisualTokens], parts: int) -> list[int]:
        if all(len(image.grids) == 1 for image in tokens):
            return self.prompt.ids(question, len(tokens))

        def write(text: str) -> str:
            return self.family.write_tiles(text, tokens)

        return self.prompt.ids(question, len(tokens), write, parts)

    def checked(
        self, tokens: Sequence[VisualTokens], question: str, max_new_tokens: int
    ) -> PromptRows:
        """The same; raises QuestionError where it and the answer are more than the model reads."""
        prompt = self.rows(tokens, question, max_new_tokens)
        if len(prompt) + max_new_tokens > self.context:
            raise QuestionError(
                f'question and images take {len(prompt)} tokens, and up to {max_new_tokens} more '
                f'for the answer, but the model reads {self.context}: use fewer frames, a '
                'smaller keep or a shorter question'
            )
        return prompt

    def words(self, ids: Tensor) -> Tensor:
        """Rows (n, D) of words by their ids (n,)."""
        return self.family.words(self._embed(ids))


def _check_widths(pieces: list[Tensor], own: int) -> None:
    others = {piece.shape[1] for piece in pieces} - {own}
    if others:
        raise ModelError(
            f'visual tokens of widths {sorted(others)} for a language model of width {own}: '
            'both halves must come from one checkpoint'
        )
