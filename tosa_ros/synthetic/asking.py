"""What a view shows clearly enough to ask about, and the shape of a question.

The question makers (`questions`, `episode_questions`) draw only on what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tosa_ros.frames import Intrinsics
from tosa_ros.synthetic.objects import SceneObject
from tosa_ros.synthetic.render import pixel_rays


@dataclass(frozen=True)
class Thresholds:
    """When something counts as visible, and how clear a difference must be to be asked.

    min_pixels: at 128 pixels of image width; grows with the image's area.
    min_fraction: visible share of the object's own silhouette.
    nearer_gap_m: between the nearest visible points, and between the centres.
    side_gap: horizontal distance of the visible parts' middles, share of the image's width.
    distance_step_m: the grid of answers in metres; distance_tolerance_m: the largest distance
        between the truth and its grid value, so the answer is right to within it.
    max_count: the largest number that is an answer.
    """

    min_pixels: int = 50
    min_fraction: float = 0.55
    nearer_gap_m: float = 0.45
    side_gap: float = 0.08
    distance_step_m: float = 1.0
    distance_tolerance_m: float = 0.3
    max_count: int = 5


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Question:
    """A question with exactly one right answer.

    answer: one or two lower-case words. category: OpenEQA's. evidence: the indices of the
    objects that it is about (none where the answer is that something is not there).
    options: the answers to choose from, where the question itself names them or is yes or no;
    each is right equally often, so guessing among them is the baseline to beat.
    """

    text: str
    answer: str
    type: str
    category: str
    evidence: tuple[int, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """What can be asked about a set of objects, whether in one view or in an episode.

    clear: indices of what is visible enough. All else may or may not have been noticed, so no
    question's answer depends on it.
    """

    objects: tuple[SceneObject, ...]
    clear: tuple[int, ...]

    def of(self, **wanted: str) -> list[int] | None:
        """The objects with these attributes; None unless they are all clear."""
        found = [
            i
            for i, thing in enumerate(self.objects)
            if all(getattr(thing, key) == value for key, value in wanted.items())
        ]
        return found if set(found) <= set(self.clear) else None


@dataclass(frozen=True, eq=False)
class SeenView(Seen):
    """One view's scene graph.

    nearest_m: distance from the camera to a clear object's nearest visible point; centre_m: to
    its centre; middle_u: mean column of its visible pixels. room: the camera's room's name.
    """

    nearest_m: dict[int, float]
    centre_m: dict[int, float]
    middle_u: dict[int, float]
    width: int
    room: str


def is_clear(thing: SceneObject, width: int, limits: Thresholds = THRESHOLDS) -> bool:
    return (
        thing.visible_pixels >= limits.min_pixels * (width / 128) ** 2
        and thing.visible_fraction >= limits.min_fraction
    )


def see(
    objects: tuple[SceneObject, ...],
    instances: np.ndarray,
    depth_m: np.ndarray,
    k: Intrinsics,
    pose: np.ndarray,
    room: str,
) -> SeenView:
    """The scene graph of a view; `objects` carry their visible pixels and fraction."""
    rays = pixel_rays(k)
    clear = tuple(i for i, thing in enumerate(objects) if is_clear(thing, k.width))
    nearest, middle = {}, {}
    for i in clear:
        rows, columns = np.nonzero(instances == i)
        lengths = np.linalg.norm(rays[rows, columns], axis=-1)
        nearest[i] = float((depth_m[rows, columns] * lengths).min())
        middle[i] = float(columns.mean())
    centre = {i: float(np.linalg.norm(objects[i].centre - pose[:3, 3])) for i in clear}
    return SeenView(objects, clear, nearest, centre, middle, k.width, room)
