"""What a benchmark's files hold, before any model is loaded: `tosa eval ... --dry-run`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tosa_ros.errors import TosaError
from tosa_ros.evaluation.questions import Benchmark
from tosa_ros.sources import as_source


def survey(benchmark: Benchmark) -> dict[str, Any]:
    """Counts, and what is missing, as plain values.

    Returns:
        questions, episodes: how many. scored: questions that have an answer. categories:
        questions in each. missing: reason by episode. without_depth: how many frames lack depth,
        by episode, where files show it. notes: what is to know of an episode's frames, in lines,
        by episode. unanswerable: questions whose episode is missing. problems: what the files
        held that cannot be used.
    """
    groups = benchmark.by_episode()
    missing, no_depth, notes = {}, {}, {}
    for episode in groups:
        try:
            frames = as_source(benchmark.frames(episode))
            if not len(frames):
                missing[episode] = 'has no frames'
            elif frames.missing_depth:
                no_depth[episode] = frames.missing_depth
            if frames.notes:
                notes[episode] = list(frames.notes)
        except TosaError as error:
            missing[episode] = str(error)
    return {
        'benchmark': benchmark.name,
        'questions': len(benchmark.questions),
        'scored': len(benchmark.scored),
        'episodes': len(groups),
        'categories': dict(Counter(q.category for q in benchmark.questions).most_common()),
        'unanswerable': sum(len(groups[episode]) for episode in missing),
        'missing': missing,
        'without_depth': no_depth,
        'notes': notes,
        'problems': benchmark.problems,
    }
