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
from tosa_ros.evaluation.judge.protocol import (
    MAX_TOKENS,
    OFFICIAL_JUDGE,
    SEED,
    TEMPERATURE,
    Judge,
    JudgeError,
    UnmarkedError,
)
from tosa_ros.evaluation.judge.replies import HIGHEST, LOWEST, mark_in
from tosa_ros.evaluation.judge_prompts import JudgePrompts
from tosa_ros.evaluation.metrics.llm_match import cut_answer, mark_value
from tosa_ros.evaluation.metrics.score import QuestionId, Score, make_score
from tosa_ros.evaluation.questions import Question
from tosa_ros.files import utf8, write_json

REPLIES_PER_MARK = 3
WORKERS = 8
HOPELESS = 8  # answers without a mark, and none with one: the judge gives none


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
        kept = [
            record
            for record in journal.records
            if keys.get(record['question_id']) == record['key']
            and LOWEST <= record['mark'] <= HIGHEST
        ]
        for names in {tuple(record['left_out']) for record in kept if record.get('left_out')}:
            judge.leave_out(names)
        known = {record['question_id']: record['mark'] for record in kept}
        failures = _ask_all(
            {qid: prompt for qid, prompt in asked.items() if qid not in known},
            judge,
            lambda qid, mark: journal.append(_record(qid, mark, keys[qid], judge)),
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
    """The LLM-Match score of a complete set of marks, named by its judge and how it was asked."""
    return make_score(
        metric_name(judge, prompts or JudgePrompts()),
        {q.id: mark_value(marks[q.id]) for q in questions},
        [q.category for q in questions],
        episodes=[q.episode for q in questions],
    )


def metric_name(judge: Judge, prompts: JudgePrompts) -> str:
    """LLM-Match with the judge and each setting of it that is not OpenEQA's.

    It says official only where judge, wording and settings are.
    """
    settings = judge.settings()
    left_out = settings.get('left_out', ())
    others = [] if prompts.official else ["not OpenEQA's prompt"]
    if 'temperature' in left_out:
        others.append("the model's own temperature")
    elif settings.get('temperature', TEMPERATURE) != TEMPERATURE:
        others.append(f'temperature {settings["temperature"]}')
    if 'max_tokens' in left_out:
        others.append('no limit of tokens')
    elif settings.get('max_tokens', MAX_TOKENS) != MAX_TOKENS:
        others.append(f'{settings["max_tokens"]} tokens')
    if 'seed' in left_out:
        others.append('no seed')
    if judge.name == OFFICIAL_JUDGE and not others:
        return f'LLM-Match (official: judge {judge.name})'
    return f'LLM-Match ({", ".join([f"judge {judge.name}", *others])})'


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
    known_before = len(known)

    def work(item: tuple[QuestionId, str]) -> None:
        qid, prompt = item
        if gone:
            return
        try:
            mark = _mark(judge, prompt)
        except UnmarkedError as error:
            failures[qid] = str(error)
            if len(failures) >= HOPELESS and len(known) == known_before:
                gone.append(str(error))
            return
        except JudgeError as error:
            gone.append(str(error))
            failures[qid] = str(error)
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
    """A mark; a reply without one, or with one outside of 1..5, is asked for again.

    Raises:
        UnmarkedError: no reply has a mark.
    """
    for attempt in range(REPLIES_PER_MARK):
        reply = judge.ask(prompt, SEED + attempt)
        try:
            return mark_in(reply)
        except ValueError as error:
            why = error
    raise UnmarkedError(f'{REPLIES_PER_MARK} replies, and {why}')


def _check(record: dict[str, Any]) -> None:
    """Raises ValueError for what is no mark of ours."""
    kinds = {'question_id': (int, str), 'mark': (int,), 'key': (str,)}
    left_out = record.get('left_out', [])
    sound = all(isinstance(record.get(name), kind) for name, kind in kinds.items())
    sound = sound and not isinstance(record['mark'], bool) and isinstance(left_out, list)
    if not sound or not all(isinstance(name, str) for name in left_out):
        raise ValueError('no mark of a question')


def _record(qid: QuestionId, mark: int, key: str, judge: Judge) -> dict[str, Any]:
    """A mark, and what its judge refused of the settings in its key."""
    left_out = judge.settings().get('left_out')
    return {'question_id': qid, 'mark': mark, 'key': key} | (
        {'left_out': left_out} if left_out else {}
    )


def _key(judge: Judge, prompt: str) -> str:
    settings = {name: v for name, v in judge.settings().items() if name != 'left_out'}
    described = json.dumps([settings, prompt], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(utf8(described)).hexdigest()[:20]
