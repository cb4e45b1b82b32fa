"""Checkpoints on disk or on the hub: configuration, and the weights of one part alone.

transformers does the reading (safetensors only, never remote code); a family names the part that
is wanted, so that tensors of the others are never read.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import AutoConfig
from transformers.utils import cached_file

from tosa_ros.errors import ModelError
from tosa_ros.loading import (
    check_shards,
    is_missing_folder,
    model_type_of,
    one_line_errors,
    quiet_loading,
)
from tosa_ros.settings import TRAINED_FRAMES
from tosa_ros.vlm.families import family_of
from tosa_ros.vlm.quantizing import quantization
from tosa_ros.vlm.weights import MappedWeightOptions, Weights

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tosa_ros.vlm.families.base import Family


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a vision-language model: where it is, its configuration, and how its
    weights are to be held."""

    path: str
    config: Any
    weights: Weights = Weights()  # noqa: RUF009 (frozen)

    @classmethod
    def open(cls, path: str | Path, **weights: Unpack[MappedWeightOptions]) -> Checkpoint:
        """Reads the configuration alone.

        Raises:
            ModelError: a folder or id without one, or of a family that is not supported; a
                revision of a folder.
        """
        path, held = str(path), Weights(**weights)
        if is_missing_folder(path):
            raise ModelError(
                f'model: {path!r} is not a folder; give a checkpoint folder or hub id'
            )
        if held.revision and Path(path).is_dir():
            raise ModelError(
                f'revision: {held.revision!r}, but {path!r} is a folder; a revision is of a name '
                'on the hub'
            )
        check_shards(path, ModelError)
        with one_line_errors(f'model {path!r} cannot be loaded', ModelError):
            kind = model_type_of(path, held.revision)
            if kind is not None:
                family_of(kind, path)
            config = AutoConfig.from_pretrained(
                path, revision=held.revision, trust_remote_code=False
            )
        family_of(config.model_type, path)
        return cls(path, config, held)

    @cached_property
    def family(self) -> Family:
        """How it is loaded, sees an image and puts it into the prompt."""
        tower = getattr(self.config, 'vision_config', None)
        tower = getattr(tower, 'model_type', '')
        return family_of(self.config.model_type, self.path, tower)(self)

    @property
    def trained_frames(self) -> int | None:
        """The number of frames it was trained on at most, where its config says so."""
        return getattr(self.config, TRAINED_FRAMES.name, None)

    def loading_errors(self) -> contextlib.AbstractContextManager[None]:
        """Whatever reading the checkpoint's files raises, as a ModelError that names it."""
        return one_line_errors(f'model {self.path!r} cannot be loaded', ModelError)

    def tensor(self, *names: str) -> torch.Tensor:
        """One tensor of the checkpoint, by the first of these names that it has.

        Raises:
            ModelError: it has none of them.
        """
        with self.loading_errors():
            for name in names:
                for file in self._files_with(name):
                    with safe_open(file, 'pt') as tensors:
                        if name in tensors.keys():  # noqa: SIM118 (not a dict)
                            return tensors.get_tensor(name)
        raise ModelError(f'{self.path}: the checkpoint lacks {names[-1]}; is it complete?')

    def _files_with(self, name: str) -> list[str]:
        """The safetensors file that holds (or, in a single-file checkpoint, may hold) `name`."""
        index = self.file('model.safetensors.index.json')
        if index is None:
            return [self.file('model.safetensors')]
        with open(index, encoding='utf-8') as stream:
            shard = json.load(stream)['weight_map'].get(name)
        return [] if shard is None else [self.file(shard)]

    def file(self, name: str) -> str | None:
        """Where a file of the checkpoint is on this machine; None where it has none of that
        name."""
        return cached_file(
            self.path,
            name,
            revision=self.weights.revision,
            _raise_exceptions_for_missing_entries=False,
        )

    def load(
        self,
        cls: type,
        config: Any,
        keys: dict[str, str],
        device: str,
        dtype: torch.dtype | None,
        attention: str | None = 'sdpa',
        **more: Any,
    ) -> Any:
        """A part of the checkpoint as a model of this class, in evaluation mode.

        keys: patterns of tensors' names and what they are in that model; tensors that the model
        does not have are not read. dtype: by default the checkpoint's own. attention: its
        implementation where the user names none; None leaves it to transformers. more: arguments
        of the model's constructor beside its config.

        Raises:
            ModelError: it cannot be read, or lacks tensors of the model.
        """
        held = self.weights
        place = held.place(device)
        with self.loading_errors(), quiet_loading():
            model, info = cls.from_pretrained(
                self.path,
                revision=held.revision,
                config=config,
                key_mapping=keys,
                dtype=self._dtype(device, held.dtype(dtype)),
                device_map=place,
                quantization_config=held.quantize and quantization(held.quantize),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                attn_implementation=held.attn_implementation or attention,
                **more,
            )
        missing = sorted(info['missing_keys'])
        if missing:
            raise ModelError(
                f'{self.path}: the checkpoint lacks {len(missing)} tensors, {missing[0]} first; '
                'is it complete?'
            )
        return (model if place else model.to(device)).eval()

    def _dtype(self, device: str, dtype: torch.dtype | None) -> torch.dtype | str:
        if dtype is not None:
            return dtype
        own = getattr(self.config, 'dtype', None)
        half_on_cpu = own == torch.float16 and str(device) == 'cpu'
        # float16 arithmetic is slow and incomplete on CPUs; bfloat16 takes the same memory.
        return torch.bfloat16 if half_on_cpu else 'auto'
