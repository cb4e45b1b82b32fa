"""View: a frame of an answer beside its merged tokens, for notebooks.

A view may outlive its frame: many answers must not hold as many pictures. Then the picture is read
again from the frame's file, where it has one.
"""

from __future__ import annotations

import base64
import html
import io
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tosa_ros.errors import TosaError
from tosa_ros.frames import Frame
from tosa_ros.sources import frames_of
from tosa_ros.vlm import VisualTokens
from tosa_ros.vlm.tiles import Tiling

SHOWN = 4  # frames; more would fill the notebook
WIDTH_PX = 320
Tilings = Callable[[int, int], Tiling]


@dataclass(frozen=True, eq=False)
class View:
    """source (N,): the token each patch went to, as VisualTokens have it.

    frame: gives the frame, or None where it is gone. name: its path, or ''.
    tiling: gives the encoder's tiles of a width and a height, or None where the encoder is gone.
    """

    name: str
    source: np.ndarray = field(repr=False)
    tiling: Callable[[], Tilings | None] = field(repr=False)
    frame: Callable[[], Frame | None] = field(repr=False)

    @classmethod
    def of(
        cls,
        frame: Frame,
        name: str,
        tokens: VisualTokens,
        tiling: Tilings,
        *,
        hold: bool,
    ) -> View:
        """hold: whether the frame lives as long as the view."""
        source = tokens.source.astype(np.int32)
        held = (lambda: frame) if hold else weakref.ref(frame)
        return cls(name, source, weakref.WeakMethod(tiling), held)

    def draw(self) -> np.ndarray | None:
        """The picture and its tokens side by side; None where it or the encoder is gone."""
        from tosa_ros.drawing import draw_tokens, side_by_side, token_map

        frame, tilings = self.frame() or self._read(), self.tiling()
        if frame is None or tilings is None:
            return None
        tiling = tilings(frame.width, frame.height)
        if tiling.spans[-1].stop != len(self.source):
            return None  # Another picture is in its file now.
        grids = token_map(tiling.by_tile(self.source), tiling.tiles)
        merged = draw_tokens(frame.rgb, grids)
        count = len(np.unique(self.source[self.source >= 0]))
        caption = f'{count} of {len(self.source)} tokens'
        title = Path(self.name).name or 'frame'
        return side_by_side([[(title, frame.rgb), (caption, merged)]], width=WIDTH_PX)

    def _read(self) -> Frame | None:
        path, _, time = self.name.rpartition('@')
        try:
            timed = path and Path(path).is_file()
            given = frames_of((path, float(time)) if timed else self.name)
        except (TosaError, OSError, ValueError):
            return None
        return given.frames[0] if len(given.frames) == 1 else None


def page_of(question: str, text: str, lines: Sequence[str], views: Sequence[View]) -> str:
    """HTML of an answer."""
    parts = [f'<p><b>{html.escape(question)}</b><br>{html.escape(text)}</p>']
    for view in views[:SHOWN]:
        picture = view.draw()
        if picture is None:
            parts.append(
                f'<p>(the picture {html.escape(view.name)} is not in memory any more)</p>'
            )
            continue
        data = io.BytesIO()
        Image.fromarray(picture).save(data, 'PNG')
        code = base64.b64encode(data.getvalue()).decode()
        parts.append(f'<img alt="frame and merged tokens" src="data:image/png;base64,{code}"><br>')
    if len(views) > SHOWN:
        parts.append(f'<p>and {len(views) - SHOWN} more frames</p>')
    small = '<br>'.join(html.escape(line) for line in lines)
    return ''.join([*parts, f'<p><small>{small}</small></p>'])
