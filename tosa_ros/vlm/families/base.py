"""Family: how checkpoints of one kind are loaded, see an image, and put it into the prompt.

Everything that differs between model families stands in their modules here; the encoder and the
answerer call these methods and know no family by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tosa_ros.errors import ModelError
from tosa_ros.vlm.tokens import VisualTokens

if TYPE_CHECKING:
    from tosa_ros.spatial import PatchGrid, SpatialTokens
    from tosa_ros.vision import MergedEncoder, MergedTokens
    from tosa_ros.vlm.checkpoint import Checkpoint
    from tosa_ros.vlm.image_input import ImageInput
    from tosa_ros.vlm.tiles import Tiles

# Where a row of the prompt stands: one number, or one for each axis (time, row, column).
Position = int | tuple[int, ...]


class Family:
    """One checkpoint of this family.

    title: what people call the family. template: the chat template of checkpoints without one.
    roads: where tokens can merge, the usual place first. why_not: of a family without one of the
        roads, what stands in the way, such as 'tower joins neighbouring patches'.
    talks: whether its prompts may have instructions and earlier turns before the question.
    causal: whether no row of the prompt looks at rows behind it, so that what was read of a
        prompt's beginning holds for every prompt that begins so.
    joins: patches along a side of one of the model's tokens, of a family whose tower merges
        though what follows joins patches of a grid: merged tokens are spread over their patches
        for it, and merge once more at the output.
    key_channels: how many channels of an embedding, from the first, tell how alike two are; None
        is all.
    """

    title: ClassVar[str] = ''
    template: ClassVar[str] = ''
    roads: ClassVar[tuple[str, ...]] = ('tower', 'output')
    why_not: ClassVar[str] = ''
    talks: ClassVar[bool] = True
    causal: ClassVar[bool] = True
    joins: int = 1
    key_channels: int | None = None

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    # The two halves, each of which reads its own tensors alone.

    def load_vision(self, device: str, dtype: torch.dtype | None) -> nn.Module:
        """The tower and all that follows it, up to the language model's embedding space."""
        raise NotImplementedError

    def load_language(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        """The language model with its head, and what this object adds to the prompt."""
        raise NotImplementedError

    # From an image to visual tokens.

    def image_input(self) -> ImageInput:
        """The checkpoint's preprocessing: pixels, and the patch grid over an image."""
        raise NotImplementedError

    def tiles(self) -> Tiles:
        """How the checkpoint's own image processor cuts an image into tiles.

        Raises:
            ModelError: it does not.
        """
        raise ModelError(f'tiles: {self.title} makes none of an image; leave the option out')

    def tower(self, half: nn.Module) -> nn.Module:
        """The encoder in the vision half whose layers merge."""
        raise NotImplementedError

    def see(
        self, tower: MergedEncoder, pixels: Sequence[Tensor], spatial: SpatialTokens | None
    ) -> MergedTokens:
        """Runs the tower on several images' pixels, as `image_input` makes them."""
        parameter = next(tower.model.parameters())
        batch = torch.stack(list(pixels)).to(parameter.device, parameter.dtype)
        return tower(pixel_values=batch, spatial=spatial)

    def project(self, half: nn.Module, merged: MergedTokens) -> Tensor:
        """Embeddings (B, T', D) of merged tokens in the language model's space.

        Where patches are joined (`joins`), of all patches, each with its token's vector.
        """
        raise NotImplementedError

    def embed(
        self,
        half: nn.Module,
        tower: MergedEncoder | None,
        pixels: Sequence[Tensor],
        grids: Sequence[PatchGrid],
    ) -> Tensor:
        """Embeddings (B, N, D) of several images' pixels without merging.

        tower: of a family that merges in the tower, set not to. grids: one an image, of one shape.
        """
        return self.project(half, self.see(tower, pixels, None))

    # From visual tokens to the prompt.

    @property
    def image_token_id(self) -> int:
        """The token that stands for an image in the prompt, once an image."""
        return self.checkpoint.config.image_token_id

    def write(self, text: str) -> str:
        """The chat template's text as this family's processor goes on with it.

        It must have `image_token_id` once an image.
        """
        return text

    def parts(self, image: VisualTokens) -> list[VisualTokens]:
        """What each of an image's placeholders in the prompt stands for.

        More than one only where `write_tiles` writes more for an image in tiles.
        """
        return [image]

    def write_tiles(self, text: str, images: Sequence[VisualTokens]) -> str:
        """`write` where images were cut into tiles; `image_token_id` once a part."""
        return self.write(text)

    def place(self, words: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        """Brings what this object adds to the prompt beside the words' embeddings (V, D)."""

    def words(self, embeddings: Tensor) -> Tensor:
        """The prompt's rows for words, of their embeddings (n, D)."""
        return embeddings

    def rows(self, image: VisualTokens) -> list[Tensor]:
        """The prompt's rows for an image, in pieces (n, D)."""
        return [image.embeddings]

    def token_rows(self, image: VisualTokens) -> list[int]:
        """Which of the image's rows each of its tokens is."""
        return list(range(len(image)))

    def at(self, place: int) -> Position:
        """Where a row stands that has this many places before it, such as a word."""
        return place

    def positions(self, image: VisualTokens, start: int) -> tuple[list[Position], int]:
        """Positions of the image's rows, of which the first could be `start`, and the next free.

        A merged token has that of the middle one of its patches, so that words and images are as
        far apart as in training.
        """
        places = image.middle_patches()
        return [self.at(start + place) for place in places], start + image.before

    def packed(self, positions: list[Position]) -> list[Position]:
        """Positions one behind the other, for prompts that would be too long."""
        return [self.at(place) for place in range(len(positions))]

    def read(
        self, model: PreTrainedModel, positions: Tensor, images: Tensor, **inputs: Any
    ) -> Tensor:
        """The language model's logits (B, 1, V) behind the last row that it reads here.

        Behind others, (B, rows, V), where `logits_to_keep` gives their numbers.

        positions: (B, T) or (B, T, axes). images (B, read before + T): 1 where a row is of an
        image, else 0. inputs: inputs_embeds or input_ids, attention_mask, past_key_values.
        """
        inputs.setdefault('logits_to_keep', 1)
        return model(**inputs, position_ids=positions, use_cache=True).logits
