"""Questions, memory and the queue, with a real language model on random weights."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tosa_ros.errors import QuestionError
from tosa_ros.frames import Frame
from tosa_ros.merging import ToSA
from tosa_ros.ros.answer_queue import AnswerQueue
from tosa_ros.ros.memory import FrameMemory, Seen
from tosa_ros.ros.questions import Question, parse_question, refusal
from tosa_ros.ros.replies import Reply
from tosa_ros.vlm import Answerer, VisionEncoder


def test_plain_text_and_json_are_questions():
    plain = parse_question('  what is there? ')
    assert plain.text == 'what is there?'
    assert plain.id
    assert plain.id != parse_question('what is there?').id
    assert parse_question('{"id": 7, "text": "and now?"}') == Question('7', 'and now?')
    assert parse_question('{"text": "and now?"}').text == 'and now?'
    assert parse_question('[1] is a plain question?').text == '[1] is a plain question?'


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        ('', 'wanted text'),
        ('   ', 'wanted text'),
        ('x' * 1_000_000, '1,000,000 characters'),
        ('x' * 4_001, '4,001 characters'),
        ('{"id": 1', 'begins like JSON but is not'),
        ('{' * 8_000, 'begins like JSON but is not'),
        ('{"a":' * 1_500, 'begins like JSON but is not'),
        ('{"id": 1}', 'wanted JSON'),
        ('{"id": [1], "text": "a"}', 'wanted JSON'),
        ('{"text": 5}', 'wanted JSON'),
        ('{"id": "a", "text": "hi \\ud800"}', r"character 4 is '\\ud800'"),
        ('how many b\udce4lle?', r"character 11 is '\\udce4'"),
    ],
)
def test_an_invalid_question_is_refused_in_one_line(data, said):
    with pytest.raises(QuestionError, match=said) as refused:
        parse_question(data)
    reply = json.loads(refusal(data, str(refused.value)).to_json())
    assert '\n' not in reply['error']
    assert len(reply['question']) <= 200
    assert reply['done']


def test_a_refusal_keeps_the_id():
    assert refusal('{"id": "a7", "text": ""}', 'no').id == 'a7'
    assert refusal('{"id": "a7", ', 'no').id == ''
    assert refusal(json.dumps({'id': 'a7', 'text': 'x' * 9_000}), 'no').id == 'a7'


def test_the_longest_question_may_be_escaped():
    for character in ('語', '🪑'):
        text = character * 4_000
        assert parse_question(json.dumps({'id': 'a', 'text': text})) == Question('a', text)


def test_a_reply_is_text_that_can_be_sent():
    data = '{"id": "\\udfff", "text": "what?"}'
    assert json.loads(Reply(id=parse_question(data).id, question='what?').to_json())['id'] == '?'


@pytest.fixture(scope='module')
def encoder(checkpoint):
    return VisionEncoder.from_pretrained(checkpoint, merging=ToSA(keep=0.25))


@pytest.fixture(scope='module')
def answerer(checkpoint):
    return Answerer.from_pretrained(checkpoint)


@pytest.fixture(scope='module')
def looks(encoder):
    """Tokens of a frame with depth and of one without."""
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    depth = np.full((48, 64), 2.0, np.float32)
    return encoder.encode([Frame(rgb=rgb), Frame(rgb=rgb, depth_m=depth)])


@pytest.fixture
def seen(looks):
    def make(stamp, came_s=0.0, depth=True):
        return Seen(replace(looks[depth], stamp=stamp), 'camera', came_s)

    return make


def stamps(memory):
    frames = memory.frames(-float('inf'), 0.0, lambda: False)
    return [frame.tokens.stamp for frame in frames]


def test_memory_keeps_the_newest_and_older_ones_apart(seen):
    memory = FrameMemory(frames=4, interval_s=1.0)
    assert stamps(memory) == []
    for tenth in range(0, 58, 2):
        memory.add(seen(tenth / 10))
    assert stamps(memory) == [3.0, 4.0, 5.0, 5.6]
    memory.add(seen(5.5))  # late: ignored
    assert stamps(memory) == [3.0, 4.0, 5.0, 5.6]
    memory.set_span(2, 1.0)
    assert stamps(memory) == [5.0, 5.6]
    memory.set_span(1, 1.0)
    assert stamps(memory) == [5.6]
    memory.add(seen(0.5))  # time was set back
    assert stamps(memory) == [0.5]


def test_memory_waits_for_a_frame_that_is_new_enough(seen):
    memory = FrameMemory(1, 1.0)
    memory.add(seen(1.0, came_s=10.0))
    assert memory.frames(10.5, 0.0, lambda: False) == []
    assert memory.newest_age_s(12.0) == 2.0
    threading.Timer(0.05, memory.add, [seen(2.0, came_s=11.0)]).start()
    [frame] = memory.frames(10.5, 10.0, lambda: False)
    assert frame.tokens.stamp == 2.0
    started = time.monotonic()
    assert memory.frames(20.0, 10.0, lambda: True) == []
    assert time.monotonic() - started < 5


class Replies:
    """What a queue published, and waiting for it."""

    def __init__(self) -> None:
        self.all: list[Reply] = []
        self._came = threading.Condition()

    def __call__(self, reply: Reply) -> None:
        with self._came:
            self.all.append(reply)
            self._came.notify_all()

    def final(self, count: int) -> list[Reply]:
        def done():
            return [reply for reply in self.all if reply.done]

        with self._came:
            assert self._came.wait_for(lambda: len(done()) >= count, 30)
            return done()

    def first_words(self) -> None:
        with self._came:
            assert self._came.wait_for(lambda: any(reply.text for reply in self.all), 30)


@pytest.fixture
def replies():
    return Replies()


def queue_of(answerer, publish, errors, **settings):
    return AnswerQueue(
        answerer,
        FrameMemory(3, 1.0),
        publish,
        clock=lambda: 0.0,
        on_error=errors.append,
        **settings,
    )


@pytest.fixture
def queue(answerer, replies):
    errors = []
    made = queue_of(answerer, replies, errors, wait_s=0.2, max_new_tokens=8)
    yield made
    assert made.stop(30)
    assert errors == []


def test_the_last_reply_says_that_frames_share_positions(
    queue, replies, answerer, seen, monkeypatch
):
    monkeypatch.setattr(answerer.builder, 'trained_frames', 2)
    for stamp in (1.0, 2.0, 3.0):
        queue.memory.add(seen(stamp, depth=stamp > 1))
    queue.ask(Question('a', 'what is there?'))
    [final] = replies.final(1)
    assert final.note.split('; ') == [
        'no depth in 1 of 3 frames: image tokens were merged by appearance alone',
        '3 frames share the positions of 2, as many as the model was trained on',
    ]


def test_answers_are_the_models_own_and_grow(queue, replies, answerer, seen):
    frames = [seen(1.0), seen(2.0), seen(3.0)]
    for frame in frames:
        queue.memory.add(frame)
    queue.ask(Question('a', 'what is there?'))
    [final] = replies.final(1)
    wanted = answerer.answer([f.tokens for f in frames], 'what is there?', max_new_tokens=8)
    assert final.text.strip() == wanted.text
    assert (final.id, final.error, final.frames, final.stamp) == ('a', '', 3, 3.0)
    assert final.tokens == sum(len(f.tokens) for f in frames)
    assert 0 < final.first_word_ms <= final.latency_ms
    growing = [reply.text for reply in replies.all]
    assert all(after.startswith(before) for before, after in itertools.pairwise(growing))
    assert len(set(growing)) > 2


def test_answers_say_when_there_was_no_depth(queue, replies, seen):
    queue.memory.add(seen(1.0, depth=False))
    queue.ask(Question('a', 'what is there?'))
    queue.memory.add(seen(2.0, depth=True))
    [final] = replies.final(1)
    assert final.spatial == 'none'
    assert 'merged by appearance alone' in final.note


def test_without_frames_the_reply_names_the_reason(queue, replies, seen):
    queue.ask(Question('a', 'what is there?'))
    assert 'no frame has arrived yet' in replies.final(1)[0].error
    queue.memory.add(seen(1.0, came_s=-60.0))
    queue.ask(Question('b', 'what is there?'))
    assert 'is 60.0 s old, more than max_age_s (10)' in replies.final(2)[1].error
    queue.max_age_s = 0.0
    queue.ask(Question('c', 'what is there?'))
    assert replies.final(3)[2].error == ''


def test_too_many_questions_are_refused_at_once(queue, replies, seen):
    queue.max_waiting = 3
    for index in range(20):
        queue.ask(Question(str(index), 'what is there?'))
    queue.memory.add(seen(1.0))
    finals = replies.final(20)
    busy = [reply for reply in finals if reply.error.startswith('busy: 3 questions')]
    assert len(busy) in (16, 17)
    assert queue.dropped == len(busy)
    assert len(finals) == 20


def test_cancelling_ends_the_answer_and_refuses_the_rest(queue, replies, seen):
    queue.memory.add(seen(1.0))
    queue.max_new_tokens = 3000
    for name in 'abc':
        queue.ask(Question(name, 'what is there?'))
    replies.first_words()
    assert queue.clear() == 3
    finals = {reply.id: reply for reply in replies.final(3)}
    assert {reply.error for reply in finals.values()} == {'cancelled'}
    assert finals['a'].text
    assert queue.wait_idle(30)
    queue.max_new_tokens = 4
    queue.ask(Question('d', 'what is there?'))
    assert replies.final(4)[3].error == ''


def test_the_queue_reports_a_refusal_of_the_model_and_goes_on(queue, replies, seen):
    queue.memory.add(seen(1.0))
    queue.ask(Question('a', 'what is <image> there?'))
    queue.ask(Question('b', 'what is there?'))
    first, second = replies.final(2)
    assert "'<image>'" in first.error
    assert second.error == ''


def test_the_queue_reports_a_failed_publication_and_goes_on(answerer, replies, seen):
    errors = []

    def publish(reply):
        if reply.id == 'bad':
            raise UnicodeError('cannot be sent')
        replies(reply)

    queue = queue_of(answerer, publish, errors, max_new_tokens=2)
    queue.memory.add(seen(1.0))
    queue.ask(Question('bad', 'what is there?'))
    queue.ask(Question('good', 'what is there?'))
    assert [reply.id for reply in replies.final(1)] == ['good']
    assert {str(error) for error in errors} == {'cannot be sent'}
    assert queue.stop(30)


def test_the_queue_reports_a_panic_of_the_tokenizer_and_goes_on(answerer, replies, seen):
    from tokenizers import Tokenizer, decoders, models

    broken = Tokenizer(models.WordLevel({'aaaa': 0}, unk_token='aaaa'))
    broken.decoder = decoders.Strip('a', 3, 3)  # More than there is, which its Rust panics at.

    class Panicking:
        def stream(self, tokens, question, **settings):
            if 'panic' in question:
                broken.decode([0])
            return answerer.stream(tokens, question, **settings)

    errors = []
    queue = queue_of(Panicking(), replies, errors, max_new_tokens=2)
    queue.memory.add(seen(1.0))
    for name, text in (('a', 'panic!'), ('b', 'what is there?')):
        queue.ask(Question(name, text))
    first, second = replies.final(2)
    assert 'PanicException' in first.error
    assert second.error == ''
    assert [type(error).__name__ for error in errors] == ['PanicException']
    assert queue.stop(30)


def test_closing_in_the_middle_of_an_answer(answerer, replies, seen):
    queue = queue_of(answerer, replies, [], max_new_tokens=3000)
    queue.memory.add(seen(1.0))
    queue.ask(Question('a', 'what is there?'))
    replies.first_words()
    started = time.monotonic()
    assert queue.stop(30)
    assert time.monotonic() - started < 10
    assert replies.final(1)[0].error == 'cancelled'
