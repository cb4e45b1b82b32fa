"""What a run's answers are worth: scores, tokens and times by method, and the files of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tosa_ros.evaluation.compare import Difference, Entry, difference
from tosa_ros.evaluation.gallery import FAILURES, failures
from tosa_ros.evaluation.judge import Judge, JudgeError
from tosa_ros.evaluation.judge_prompts import JudgePrompts
from tosa_ros.evaluation.marking import llm_match, mark_answers
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.questions import Benchmark
from tosa_ros.evaluation.run_folder import MARKS, PREDICTIONS, SCORES, VALUES
from tosa_ros.evaluation.runner import Outcome
from tosa_ros.files import make_folder, write_json

EXAMPLES = 100
SAME_TOKENS = 0.02  # methods that leave as many tokens, but for rounding


@dataclass(frozen=True)
class Judging:
    """A judge and what it is asked; without one there is no LLM-Match."""

    judge: Judge
    prompts: JudgePrompts


def score_run(
    benchmark: Benchmark,
    outcome: Outcome,
    folder: Path,
    settings: Mapping[str, Any],
    judging: Judging | None = None,
    live: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    gflops: Mapping[str, float] | None = None,
    made: Sequence[Mapping[str, Any]] = (),
    shown: int = FAILURES,
) -> dict[str, Any]:
    """Scores every method's answers and writes predictions, values and scores into the folder.

    Args:
        gflops: of a question, by method, where they were counted.
        made: what made the run, as `provenance.made_by` says.
        shown: how many failures are listed, for the report's gallery.
        live: what `evaluation.live.summary` says, where the answers are the running nodes'.
        progress: called with marks there are and marks wanted, while a judge marks a method.

    Returns:
        what `scores.json` holds. Where a judge failed, `judge_errors` says so by method, and
        that method has no LLM-Match.
    """
    methods, judge_errors, all_scores = {}, {}, {}
    for label, records in outcome.answers.items():
        predictions = outcome.predictions(label)
        make_folder(folder / label)
        scores = benchmark.score(predictions) if benchmark.scored else []
        if judging is not None and benchmark.scored:
            try:
                marks = folder / label / MARKS
                scores.insert(0, _judged(benchmark, predictions, judging, marks, progress))
            except JudgeError as error:
                judge_errors[label] = str(error)
        write_json(folder / label / PREDICTIONS, benchmark.submission(predictions))
        write_json(folder / label / VALUES, _values(scores))
        methods[label] = {
            'answered': len(records),
            'scores': [score.to_dict() for score in scores],
            'cost': cost(records) | {'gflops': (gflops or {}).get(label)},
        }
        all_scores[label] = scores
    results = {
        'benchmark': benchmark.name,
        'questions': len(benchmark.questions),
        'scored': len(benchmark.scored),
        'episodes': len(benchmark.by_episode()),
        'settings': dict(settings),
        'guessing': benchmark.guessing(),
        'methods': methods,
        'differences': [asdict(one) for one in paired(all_scores, methods)],
        'not_evaluated': outcome.faults,
        'problems': list(benchmark.problems),
        'judge': judging and judging.judge.settings(),
        'judge_errors': judge_errors,
        'live': live,
        'made': list(made),
        'failures': _failures(benchmark, outcome, all_scores, shown),
        'examples': _examples(benchmark, outcome),
    }
    write_json(folder / SCORES, results)
    return results


def _judged(
    benchmark: Benchmark,
    predictions: Mapping[str, str],
    judging: Judging,
    path: Path,
    progress: Callable[[int, int], None] | None,
) -> Score:
    """LLM-Match of a method's predictions; the marks are kept in a file."""
    judge, prompts = judging.judge, judging.prompts
    questions = benchmark.scored
    marks = mark_answers(questions, predictions, judge, path, prompts=prompts, progress=progress)
    return llm_match(questions, marks, judge, prompts)


def paired(scores: Mapping[str, Sequence[Score]], methods: Mapping[str, Any]) -> list[Difference]:
    """Methods against each other, over the same questions, by the first metric that all have.

    Each one against the run's first, and those that leave the same number of tokens in pairs.
    """
    by_method = by_shared_metric(scores)
    entries = [Entry.of(label, s, methods[label]['cost']) for label, s in by_method.items()]
    return [
        difference(entry, other)
        for number, entry in enumerate(entries)
        for other in entries[:number]
        if other is entries[0] or _as_many_tokens(entry, other)
    ]


def _as_many_tokens(one: Entry, other: Entry) -> bool:
    if one.tokens is None or other.tokens is None:
        return False
    return abs(other.tokens - one.tokens) < SAME_TOKENS * one.tokens


def by_shared_metric(scores: Mapping[str, Sequence[Score]]) -> dict[str, Score]:
    """Each method's score by the first metric with values that all have; {} where none is."""
    names = [{s.name for s in of_method if s.values} for of_method in scores.values()]
    shared = set.intersection(*names) if names else set()
    metric = next((s.name for s in next(iter(scores.values()), ()) if s.name in shared), None)
    if metric is None:
        return {}
    return {
        label: next(s for s in of_method if s.name == metric)
        for label, of_method in scores.items()
    }


def cost(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over answers: visual tokens, milliseconds; and how often vision ran.

    What the answers do not show is None: others' predictions have no tokens, running nodes
    encode all the time and answer meanwhile.
    A question about frames that were encoded for an earlier one costs no vision time, so that
    `vision_ms` is spread over an episode's questions; `vision_ms_per_frame` is not.
    """
    passes = [record for record in records if record.get('vision_ms', 0) > 0]
    encoded = sum(record['frames'] for record in passes)

    def mean(name: str) -> float | None:
        if any(name not in record for record in records):
            return None
        return sum(record[name] for record in records) / len(records) if records else 0.0

    measured = mean('vision_ms') is not None
    per_frame = sum(record['vision_ms'] for record in passes) / max(encoded, 1)
    return {
        'frames': mean('frames'),
        'tokens_before': mean('tokens_before'),
        'tokens_after': mean('tokens_after'),
        'vision_passes': len(passes) if measured else None,
        'vision_ms_per_frame': per_frame if measured else None,
        'vision_ms': mean('vision_ms'),
        'prefill_ms': mean('prefill_ms'),
        'decode_ms': mean('decode_ms'),
        'spatial': dict(Counter(record['spatial'] for record in records if 'spatial' in record)),
    }


def _failures(
    benchmark: Benchmark, outcome: Outcome, scores: Mapping[str, Sequence[Score]], limit: int
) -> list[dict[str, Any]]:
    said = {label: outcome.predictions(label) for label in outcome.answers}
    by_method = by_shared_metric(scores)
    return failures(benchmark, by_method, said, limit) if by_method else []


def _examples(benchmark: Benchmark, outcome: Outcome) -> list[dict[str, Any]]:
    """The first questions with their answers and what each method said."""
    said = {label: outcome.predictions(label) for label in outcome.answers}
    return [
        {
            'question_id': q.id,
            'question': q.text,
            'answer': q.answers[0] if q.answers else None,
            'said': {label: answers.get(q.id) for label, answers in said.items()},
        }
        for q in benchmark.questions[:EXAMPLES]
    ]


def _values(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Per-question values of the metrics that have them, for paired comparisons."""
    return [
        {
            'metric': score.name,
            'values': {str(qid): value for qid, value in score.values.items()},
            'weights': {str(qid): weight for qid, weight in score.weights.items()},
            'episodes': {str(qid): number for qid, number in score.episodes.items()},
        }
        for score in scores
        if score.values
    ]
