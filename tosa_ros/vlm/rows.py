"""PromptRows: a question and its images as the rows that the language model reads."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.settings import TRAINED_FRAMES
from tosa_ros.vlm.families.base import Family, Position
from tosa_ros.vlm.options import Answering
from tosa_ros.vlm.prompt import Prompt
from tosa_ros.vlm.tokens import VisualTokens


@dataclass(frozen=True, eq=False)
class PromptRows:
    """A prompt: embeddings (T, D) and positions (T,) or (T, axes), with a key for each row.

    images (T,): 1 where a row is of an image, else 0. token_rows: each image, and which rows its
    tokens are. note: what had to be done to the images' positions; empty where nothing.
    Rows of equal keys are equal: a word's id or an image's tokens, and the position.
    """

    keys: list[tuple[Any, Any]]
    embeds: Tensor
    positions: Tensor
    images: Tensor
    token_rows: list[tuple[VisualTokens, list[int]]]
    note: str = ''

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, eq=False)
class _Beginning:
    """Rows as of PromptRows, of a prompt's first words and all its images.

    end: the place of what follows.
    """

    ids: list[int]
    keys: list[tuple[Any, Any]]
    embeds: Tensor
    positions: Tensor
    images: Tensor
    token_rows: list[tuple[VisualTokens, list[int]]]
    end: int

    def is_about(self, tokens: Sequence[VisualTokens]) -> bool:
        """Whether its images are these very ones."""
        mine = [image for image, _ in self.token_rows]
        return len(mine) == len(tokens) and all(map(operator.is_, mine, tokens))


class RowBuilder:
    """Makes the rows of prompts for one model.

    A merged token keeps the position of the middle one of its patches, so that words and images
    are as far apart as in training: on the tiny world, packing tokens closely instead costs ten
    points at keep 0.25. More images than the model was trained on share the positions of that
    many; positions that still exceed what the model reads are packed. The prompt's note says so.

    trained_frames: how many images the model was trained on at most; None: it is not known.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompt: Prompt,
        family: Family,
        trained_frames: int | None = None,
    ) -> None:
        self.trained_frames = TRAINED_FRAMES.checked(trained_frames, ModelError)
        self.prompt = prompt
        self.family = family
        self._last: _Beginning | None = None
        self._embed = model.get_input_embeddings()
        family.place(self._embed.weight, prompt.tokenizer)
        text = model.config.get_text_config()
        self.context = getattr(text, 'max_position_embeddings', None) or sys.maxsize

    @torch.inference_mode()
    def rows(
        self, tokens: Sequence[VisualTokens], question: str, options: Answering | None = None
    ) -> PromptRows:
        """The prompt of a question about these images."""
        options = options or Answering()
        parts = [
            (number, part)
            for number, image in enumerate(tokens)
            for part in self.family.parts(image)
        ]
        ids = self._ids(question, tokens, len(parts), options)
        images = [n for n, i in enumerate(ids) if i == self.prompt.image_token_id]
        cut = images[-1] + 1 if images else 0
        read = self._upto_images(ids[:cut], tokens, parts)
        rest = range(read.end, read.end + len(ids) - cut)
        places = [self.family.at(place) for place in rest]
        note = []
        if self.trained_frames and len(tokens) > self.trained_frames:
            note.append(
                f'{len(tokens)} frames share the positions of {self.trained_frames}, as many as '
                'the model was trained on'
            )
        keys = [*read.keys, *zip(ids[cut:], places, strict=True)]
        positions = torch.cat([read.positions, self._tensor(places)])
        if rest.stop + options.max_new_tokens > self.context:
            places = self.family.packed([place for _, place in keys])
            keys = [(key, place) for (key, _), place in zip(keys, places, strict=True)]
            positions = self._tensor(places)
            note.append(
                'image tokens stand one behind the other: with their own positions the prompt is '
                f'longer than the {self.context} that the model reads'
            )
        return PromptRows(
            keys=keys,
            embeds=torch.cat([read.embeds, self._words_of(ids[cut:])]),
            positions=positions,
            images=torch.cat([read.images, read.images.new_zeros(len(ids) - cut)]),
            token_rows=read.token_rows,
            note='; '.join(note),
        )

    def _upto_images(
        self,
        ids: list[int],
        tokens: Sequence[VisualTokens],
        parts: Sequence[tuple[int, VisualTokens]],
    ) -> _Beginning:
        """The rows up to the last image's; of questions about the same images, made once."""
        last = self._last
        if last is None or last.ids != ids or not last.is_about(tokens):
            last = self._last = self._begin(ids, tokens, parts)
        return last

    def _begin(
        self,
        ids: list[int],
        tokens: Sequence[VisualTokens],
        parts: Sequence[tuple[int, VisualTokens]],
    ) -> _Beginning:
        words = self._words_of(ids)
        images = iter(parts)
        keys: list[int | VisualTokens] = []
        places: list[Position] = []
        pieces: list[Tensor] = [words[:0]]
        token_rows: list[tuple[VisualTokens, list[int]]] = [(image, []) for image in tokens]
        shared = _SharedPositions(self._slots(len(tokens)))
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
            positions, after = self.family.positions(part, shared.start(number, start))
            start = shared.after(after, is_last=len(rows) == len(tokens[number]))
            keys += [tokens[number]] * len(positions)
            places += positions
            pieces += [row.to(words.device, words.dtype) for row in self.family.rows(part)]
        _check_widths(pieces, words.shape[1])
        of_images = [int(isinstance(key, VisualTokens)) for key in keys]
        return _Beginning(
            ids=ids,
            keys=list(zip(keys, places, strict=True)),
            embeds=torch.cat(pieces),
            positions=self._tensor(places),
            images=torch.tensor(of_images, dtype=torch.int64, device=words.device),
            token_rows=token_rows,
            end=start,
        )

    def _words_of(self, ids: list[int]) -> Tensor:
        """Rows (n, D); any stands where an image goes."""
        # Some models have no embedding for the image's placeholder.
        known = [0 if i == self.prompt.image_token_id else i for i in ids]
        known = torch.tensor(known, dtype=torch.int64, device=self._embed.weight.device)
        return self.family.words(self._embed(known))

    def _tensor(self, places: list[Position]) -> Tensor:
        """Positions (n,) or (n, axes)."""
        shape = (0,) if isinstance(self.family.at(0), int) else (0, len(self.family.at(0)))
        made = torch.tensor(places, dtype=torch.int64, device=self._embed.weight.device)
        return made if places else made.reshape(shape)

    def _slots(self, images: int) -> list[int]:
        """For each image, the number of the positions that it has; neighbours share theirs."""
        slots = min(images, self.trained_frames or images)
        return [number * slots // images for number in range(images)]

    def _ids(
        self, question: str, tokens: Sequence[VisualTokens], parts: int, options: Answering
    ) -> list[int]:
        if (options.system or options.history) and not self.family.talks:
            raise QuestionError(
                f'{"system" if options.system else "history"}: {self.family.title} was made for '
                'single questions, without instructions or earlier turns'
            )
        talk = {'system': options.system, 'history': options.history}
        if all(len(image.grids) == 1 for image in tokens):
            return self.prompt.ids(question, len(tokens), **talk)

        def write(text: str) -> str:
            return self.family.write_tiles(text, tokens)

        return self.prompt.ids(question, len(tokens), write, parts, **talk)

    def checked(
        self, tokens: Sequence[VisualTokens], question: str, options: Answering
    ) -> PromptRows:
        """The same; raises QuestionError where it and the answer are more than the model reads."""
        prompt, longest = self.rows(tokens, question, options), options.max_new_tokens
        if len(prompt) + longest > self.context:
            raise QuestionError(
                f'question and images take {len(prompt)} tokens, and up to {longest} more for the '
                f'answer, but the model reads {self.context}: use fewer frames, a smaller keep or '
                f'a shorter {"talk" if options.history else "question"}'
            )
        return prompt

    def words(self, ids: Tensor) -> Tensor:
        """Rows (n, D) of words by their ids (n,)."""
        return self.family.words(self._embed(ids))


class _SharedPositions:
    """Where the parts of images stand, of which neighbours may have the same positions."""

    def __init__(self, slots: Sequence[int]) -> None:
        self._slots = slots
        self._image = self._first = self._end = -1

    def start(self, image: int, free: int) -> int:
        """Where an image's next part starts, if `free` is the place behind what is before it."""
        if image == self._image:
            return free
        if self._image < 0 or self._slots[image] != self._slots[self._image]:
            self._first, self._end = free, free
        self._image = image
        return self._first

    def after(self, place: int, is_last: bool) -> int:
        """The place behind a part; behind an image's last, that behind all that share with it."""
        self._end = max(self._end, place)
        return self._end if is_last else place


def _check_widths(pieces: list[Tensor], own: int) -> None:
    others = {piece.shape[1] for piece in pieces} - {own}
    if others:
        raise ModelError(
            f'visual tokens of widths {sorted(others)} for a language model of width {own}: '
            'both halves must come from one checkpoint'
        )
