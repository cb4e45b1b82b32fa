"""A bag's questions asked of the running nodes while it is played, kept as any run's answers are.

What talks to ROS is handed in (`ros.playback.LiveReplay`); here are the bag and the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.replay import BagQuestions
from tosa_ros.evaluation.run_folder import ANSWERS, check_answer
from tosa_ros.evaluation.runner import Outcome, problems_kept, something_of
from tosa_ros.messages.recording import Playback, Received, Recorded, TimedQuestion
from tosa_ros.sources.bags.opening import damage_errors, in_words
from tosa_ros.sources.bags.reading import BagFrames
from tosa_ros.sources.bags.topics import NONE, TF_TYPE

LABEL = 'live'
PLAYBACKS = 'playbacks.jsonl'
LATE_S = 0.5


class Player(Protocol):
    """What plays a recording to the graph, as `ros.playback.LiveReplay` does.

    playback: what came of the images so far. tokens_before: image tokens of a frame without
    merging. left_out: topics that cannot be played, to their types.
    """

    left_out: Mapping[str, str]

    @property
    def playback(self) -> Playback: ...
    @property
    def tokens_before(self) -> int: ...
    def run(
        self,
        questions: Iterable[TimedQuestion],
        *,
        wait_for: Collection[str] = (),
        timeout_s: float = 60.0,
    ) -> Iterator[Received]: ...


def played_types(bag: BagFrames) -> dict[str, str]:
    """Topic to type of what a robot's camera had to say: images, calibrations, poses and tf."""
    used = set(vars(bag.topics).values()) - {NONE}
    with bag.opened() as reader:
        return {
            c.topic: c.msgtype
            for c in reader.connections
            if c.msgcount and (c.topic in used or c.msgtype == TF_TYPE)
        }


def heard_topics(bag: BagFrames) -> list[str]:
    """The topics that the nodes must listen to; more of a bag they may do without."""
    topics = (bag.topics.image, bag.topics.depth, bag.topics.camera_info)
    return [topic for topic in topics if topic != NONE]


def recorded(bag: BagFrames) -> Iterator[Recorded]:
    """The messages on those topics, in the order of time; up to where the bag is damaged."""
    from rosbags.typesys import Stores, get_typestore

    # These messages are the same in all of ROS 2, and in ROS 1 but for their header.
    store, types = get_typestore(Stores.ROS2_HUMBLE), played_types(bag)
    with bag.opened() as reader:
        connections = [c for c in reader.connections if c.topic in types]
        try:
            for connection, received_ns, data in reader.messages(connections):
                if not reader.is2:
                    data = store.ros1_to_cdr(data, connection.msgtype)
                yield Recorded(received_ns * 1e-9, connection.topic, data)
        except damage_errors() as error:
            bag.notes[f'the bag is damaged, and was played up to there: {in_words(error)}'] = 1


def evaluate_live(
    benchmark: BagQuestions,
    replay: Player,
    folder: Path,
    *,
    template: str | None = None,
    timeout_s: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Outcome, dict[str, Any] | None]:
    """Plays the bag and asks every question that the run's folder has no answer to.

    Returns:
        the answers, and what `summary` says of the playing.

    Raises:
        DataError: not one question was answered.
        RosError: the graph is not there.
    """
    outcome = Outcome()
    with (
        problems_kept(benchmark, folder),
        Journal(folder / LABEL / ANSWERS, check_answer) as answers,
        Journal(folder / LABEL / PLAYBACKS) as playbacks_so_far,
    ):
        done = {record['question_id'] for record in answers.records}
        questions = []
        for question in benchmark.questions:
            if question.id in done:
                continue
            try:
                time_s = benchmark.asked_at(question)
            except DataError as error:
                outcome.faults[f'question {question.id}'] = str(error)
                continue
            text = benchmark.prompt(question, template)
            questions.append(TimedQuestion(question.id, text, time_s))
        if questions:
            received = replay.run(
                questions, wait_for=['/clock', *heard_topics(benchmark.bag)], timeout_s=timeout_s
            )
            for one in received:
                _keep(one, benchmark, answers, outcome, replay.tokens_before)
                if progress:
                    progress(len(answers.records), len(benchmark.questions))
            playback = replay.playback
            frames_ms = _percentiles(playback.latencies_ms)
            playbacks_so_far.append({**vars(playback), 'latencies_ms': frames_ms})
        for topic, kind in replay.left_out.items():
            benchmark.note(f'{topic} was not played: its type {kind} is not installed here')
        for line in benchmark.bag.notes:
            benchmark.note(line)
        outcome.answers[LABEL] = list(answers.records)
        playbacks = list(playbacks_so_far.records)
    something_of(outcome, benchmark)
    return outcome, summary(outcome.answers[LABEL], playbacks)


def summary(
    answers: Sequence[Mapping[str, Any]], playbacks: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Images played, encoded and dropped; latencies as [median, 95 %] in milliseconds.

    Of all playings of a run that was taken up again; None where nothing was played to its end.
    """
    if not playbacks:
        return None
    played, encoded = (sum(one[key] for one in playbacks) for key in ('played', 'encoded'))
    latency = {
        what: _percentiles([a[key] for a in answers if a[key] is not None])
        for what, key in (('first word', 'first_word_ms'), ('whole answer', 'latency_ms'))
    }
    latency['an image becomes visual tokens'] = playbacks[-1]['latencies_ms']
    return {
        'images_played': played,
        'images_encoded': encoded,
        'images_dropped': max(0, played - encoded),
        'played_s': sum(one['wall_s'] for one in playbacks),
        'latency_ms': {what: values for what, values in latency.items() if values},
        'asked_late': sum(a['late_s'] > LATE_S for a in answers),
    }


def _keep(
    received: Received, benchmark: BagQuestions, answers: Journal, outcome: Outcome, before: int
) -> None:
    reply, name = received.reply, received.question.id
    if reply['error']:
        outcome.faults[f'question {name}'] = reply['error']
        return
    if reply.get('note'):
        benchmark.note(reply['note'])
    answers.append(
        {
            'question_id': name,
            'answer': reply['text'],
            'frames': reply['frames'],
            'tokens_before': before * reply['frames'],
            'tokens_after': reply['tokens'],
            'spatial': reply['spatial'],
            'stamp': reply['stamp'],
            'first_word_ms': reply['first_word_ms'],
            'latency_ms': reply['latency_ms'],
            'late_s': received.late_s,
        }
    )


def _percentiles(values: Sequence[float]) -> list[float]:
    return [float(x) for x in np.percentile(values, [50, 95])] if values else []
