"""Facts: what an exported tower says of itself, inside its file, to be checked when it runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from tosa_ros.errors import ModelError, TosaError
from tosa_ros.merging import METHODS, MergingMethod, method_from
from tosa_ros.settings import SETTINGS

LAYOUT = 1  # of inputs, outputs and facts; another one is another contract
SUFFIXES = {'torch': '.pt2', 'aoti': '.pt2', 'onnx': '.onnx', 'openvino': '.xml'}
FORMATS = tuple(SUFFIXES)


@dataclass(frozen=True)
class Facts:
    """What a file holds.

    model: the checkpoint's name; fingerprint: of its configuration and weights.
    method: the merging method's name; settings: those that differ from the defaults, as text.
    places: what it takes of space: 'metric', 'levels', 'points' or 'none' (see `graph`).
    image_size: pixels along a side. patches: tokens before merging, tokens: after it.
    versions: of this package and of what made the file.
    """

    format: str
    model: str
    fingerprint: str
    method: str
    settings: dict[str, str]
    places: str
    image_size: int
    patches: int
    tokens: int
    dtype: str
    device: str
    versions: dict[str, str]
    layout: int = LAYOUT

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, file: str) -> Facts:
        """Raises ModelError for facts that are not this version's."""
        try:
            found = json.loads(text)
            layout, known = found['layout'], {field.name for field in fields(cls)}
            made = cls(**{name: value for name, value in found.items() if name in known})
        except (ValueError, TypeError, LookupError) as error:
            raise ModelError(f'{file}: what it says of itself cannot be read ({error})') from error
        if layout != LAYOUT:
            raise ModelError(
                f'{file}: an exported tower of layout {layout}, by tosa_ros '
                f'{made.versions.get("tosa_ros")}; wanted {LAYOUT}: export it again'
            )
        return made

    def merging(self, file: str) -> MergingMethod:
        """The method that is in the graph. Raises ModelError if there is none such here."""
        try:
            given = {name: SETTINGS[name].parse(text) for name, text in self.settings.items()}
            return method_from(self.method, given)
        except TosaError as error:
            raise ModelError(
                f'{file}: exported with a merging method unknown here: {error}'
            ) from error

    def check_model(self, name: str, fingerprint: str, file: str) -> None:
        """Raises ModelError unless the file was made of this checkpoint."""
        if fingerprint != self.fingerprint:
            raise ModelError(
                f'{file}: exported from {self.model} ({self.fingerprint}), but the model is '
                f'{name} ({fingerprint}); export it from that one'
            )

    @property
    def options(self) -> str:
        """The command line's options for its method, such as --method tosa --keep 0.1."""
        return options_of(self.method, self.settings)


def described(method: MergingMethod) -> tuple[str, dict[str, str]]:
    """A method's name and its settings as text, without those that have their defaults.

    Raises:
        ModelError: the method is in no table, so that its name would mean nothing elsewhere.
    """
    for name, cls in METHODS.loaded().items():
        if cls is type(method):
            return name, _settings(method)
    raise ModelError(
        f'{type(method).__name__}: a merging method without a name cannot be exported'
    )


def options_of(name: str, settings: dict[str, str]) -> str:
    """The command line's options for a method of which `described` told."""
    rows = [f'{SETTINGS[setting].option} {text}' for setting, text in settings.items()]
    return ' '.join([f'--method {name}', *rows])


def _settings(method: MergingMethod) -> dict[str, str]:
    chosen: dict[str, Any] = {
        field.name: getattr(method, field.name)
        for field in fields(method)
        if field.name in SETTINGS and field.name not in method.fixed
    }
    return {
        name: SETTINGS[name].kind.text(value)
        for name, value in chosen.items()
        if value != SETTINGS[name].default and value is not None
    }
