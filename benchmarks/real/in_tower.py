"""What is compared: the merging methods, each at a keep ratio, behind one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from tosa_ros.merging import METHODS, MergingMethod, NoMerging
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision import MergedTokens, merge_tokens

OURS = 'ToSA'
LABELS = {'tome': 'ToMe', 'tofu': 'ToFu', 'pitome': 'PiToMe', 'tosa': OURS}


@dataclass(frozen=True)
class InTower:
    """A method that merges between the layers of the tower."""

    name: str
    method: MergingMethod

    @property
    def keep(self) -> float:
        return getattr(self.method, 'keep', 1.0)

    @property
    def spatial(self) -> bool:
        """Whether it reads depth."""
        return hasattr(self.method, 'spatial')

    def __call__(
        self, tower: nn.Module, pixels: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        with merge_tokens(tower, self.method) as handle:
            return handle(pixel_values=pixels, spatial=spatial if self.spatial else None)


def contenders(keeps: Iterable[float]) -> Iterator[InTower]:
    yield InTower('none', NoMerging())
    for keep in keeps:
        for name, label in LABELS.items():
            yield InTower(label, METHODS[name](keep=keep))
