"""LLM-Match: asks a judge for every mark, keeps each one, and scores only a complete set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.judge import SEED, Judge, JudgeError
from tosa_ros.evaluation.judge_prompts import JudgePrompts
from tosa_ros.evaluation.metrics.llm_match import cut_answer, mark_value, parse_mark
from tosa_ros.evaluation.metrics.score import QuestionId, Score, make_score
from tosa_ros.evaluation.questions import Question
from tosa_ros.files import utf8, write_json

REPLIES_PER_MARK = 3
WORKERS = 8


def mark_answers(
    questions: Sequence[Question],
    predictions: Mapping[QuestionId, str],
    judge: Judge,
    store: Path,
    *,
    prompts: JudgePrompts | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[QuestionId, int]:
    """A mark 1..5 for every question; 0 where there is no prediction, without asking.

    Marks are kept in `store` as they come (JSON Lines), and asked for again only when the judge,
    its prompt or the prediction changed. Beside it, `marks.json` holds them as the official
    scorer writes them.

    Raises:
        JudgeError: some marks could not be had; the others are kept, so that calling again asks
            for the missing ones only. No mark is ever made up.
    """
    prompts = prompts or JudgePrompts()
    asked = {
        q.id: prompts.fill(q.text, list(q.answers), cut_answer(predictions[q.id]))
        for q in questions
        if predictions.get(q.id) is not None
    }
    keys = {qid: _key(judge, prompt) for qid, prompt in asked.items()}
    with Journal(store, _check) as journal:
        known = {
            record['question_id']: record['mark']
            for record in journal.records
            if keys.get(record['question_id']) == record['key']
        }
        failures = _ask_all(
            {qid: prompt for qid, prompt in asked.items() if qid not in known},
            judge,
            lambda qid, mark: journal.append({'question_id': qid, 'mark': mark, 'key': keys[qid]}),
            known,
            (lambda: progress(len(known), len(asked))) if progress else None,
        )
    if failures:
        qid, why = next(iter(failures.items()))
        raise JudgeError(
            f'{len(asked) - len(known)} of {len(asked)} answers have no mark; question {qid}: '
            f'{why}. {store} keeps the marks so far: run the same command again for the rest'
        )
    marks = {q.id: known.get(q.id, 0) for q in questions}
    write_json(store.with_name('marks.json'), {str(qid): mark for qid, mark in marks.items()})
    return marks


def llm_match(
    questions: Sequence[Question],
    marks: Mapping[QuestionId, int],
    judge: Judge,
    prompts: JudgePrompts | None = None,
) -> Score:
    """The LLM-Match score of a complete set of marks, named by its judge and wording."""
    wording = '' if (prompts or JudgePrompts()).official else ", not OpenEQA's prompt"
    return make_score(
        f'LLM-Match (judge {judge.name}{wording})',
        {q.id: mark_value(marks[q.id]) for q in questions},
        [q.category for q in questions],
    )


def _ask_all(
    prompts: Mapping[QuestionId, str],
    judge: Judge,
    keep: Callable[[QuestionId, int], None],
    known: dict[QuestionId, int],
    tick: Callable[[], None] | None,
) -> dict[QuestionId, str]:
    """Fills `known`; returns why a question has no mark. Stops asking once the judge is gone."""
    failures: dict[QuestionId, str] = {}
    gone: list[str] = []

    def work(item: tuple[QuestionId, str]) -> None:
        qid, prompt = item
        if gone:
            return
        try:
            mark = _mark(judge, prompt)
        except JudgeError as error:
            gone.append(str(error))
            failures[qid] = str(error)
            return
        except ValueError as error:
            failures[qid] = f'{REPLIES_PER_MARK} replies, and {error}'
            return
        try:
            keep(qid, mark)
        except DataError as error:  # A mark that cannot be kept was paid for in vain: no more.
            gone.append(str(error))
            raise
        known[qid] = mark
        if tick:
            tick()

    with ThreadPoolExecutor(WORKERS if judge.parallel else 1) as pool:
        list(pool.map(work, prompts.items()))
    return failures


def _mark(judge: Judge, prompt: str) -> int:
    """A mark; a reply without one is asked for again with another seed."""
    for attempt in range(REPLIES_PER_MARK):
        try:
            return parse_mark(judge.ask(prompt, SEED + attempt))
        except ValueError:
            if attempt == REPLIES_PER_MARK - 1:
                raise
    raise AssertionError('unreachable')


def _check(record: dict[str, Any]) -> None:
    """Raises ValueError for what is no mark of ours."""
    kinds = {'question_id': (int, str), 'mark': (int,), 'key': (str,)}
    if any(not isinstance(record.get(name), kind) for name, kind in kinds.items()):
        raise ValueError('no mark of a question')


def _key(judge: Judge, prompt: str) -> str:
    described = json.dumps([judge.settings(), prompt], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(utf8(described)).hexdigest()[:20]
