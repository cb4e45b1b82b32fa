"""What is played to a running graph and what comes of it: handed over, without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Recorded(NamedTuple):
    """A message of a recording: when (seconds), on which topic, and its CDR bytes."""

    time_s: float
    topic: str
    cdr: bytes


class TimedQuestion(NamedTuple):
    """A question and the recording's time to ask it at; None: when all has been played."""

    id: str | int
    text: str
    time_s: float | None = None


class Received(NamedTuple):
    """A question and its reply; late_s: how much after its time it was asked, recording's seconds.

    reply: as on the topic `answer`; without an answer, `text` and `error` only.
    """

    question: TimedQuestion
    reply: dict[str, Any]
    late_s: float


@dataclass
class Playback:
    """What came of a recording's images; played, encoded: by stamp. wall_s: playing took so long.

    latencies_ms: of each encoded image, from its publication to its visual tokens.
    """

    played: int
    encoded: int
    wall_s: float
    latencies_ms: list[float]
