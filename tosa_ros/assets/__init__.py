"""Models that come in the box, trained on the tiny world (see README.md beside this file)."""

from __future__ import annotations

from pathlib import Path

from tosa_ros.errors import ModelError

EMBEDDED_NOTE = (
    'no --model given: using the embedded one, which knows the tiny world only; '
    'real photographs need a real checkpoint (--model llava-hf/...)'
)


def embedded_model() -> Path:
    """Folder of the embedded LLaVA-OneVision. Raises ModelError where it is not installed."""
    path = Path(__file__).parent / 'tiny-vlm'
    if not (path / 'config.json').is_file():
        raise ModelError('no model: give --model a checkpoint folder or hub id')
    return path


def embedded_depth(kind: str = 'metric') -> Path:
    """Folder of the embedded Depth Anything of a kind, 'metric' or 'relative'.

    Raises ModelError for another kind, or where it is not installed.
    """
    path = Path(__file__).parent / f'tiny-depth-{kind}'
    if not (path / 'config.json').is_file():
        raise ModelError(
            f'no embedded depth estimator {kind!r}: wanted metric or relative, or a checkpoint '
            'folder or hub id of your own'
        )
    return path
