"""ask_many: the same answers in the same order, in full batches, whatever is asked."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from samples import frame

from tosa_ros import ToMe, ToSA, VqaPipeline
from tosa_ros.errors import FrameError, MergingError, ModelError, QuestionError
from tosa_ros.pipeline import Answer, LocalEngine, Request, answers_to_dataframe, opening
from tosa_ros.pipeline.fitting import Fit, bytes_per_token
from tosa_ros.vlm.untrained import write_checkpoint

QUESTIONS = ('How many?', 'What is on the table?', 'Which of the two chairs is nearer?')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('pipeline') / 'model', seed=2)


@pytest.fixture
def pipeline(path):
    return VqaPipeline.from_pretrained(path, merging=ToSA(keep=0.25))


@pytest.fixture
def seen(pipeline):
    """Batches of frames that went through the tower, and of questions that were answered."""
    frames, questions = [], []
    tower = pipeline.encoder.half.vision_tower
    tower.embeddings.register_forward_hook(lambda m, a, out: frames.append(out.shape[0]))
    whole = pipeline.answerer.answer_batch

    def answer_batch(requests, **more):
        questions.append(len(requests))
        return whole(requests, **more)

    pipeline.answerer.answer_batch = answer_batch
    return frames, questions


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    place = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(place / f'{i}.png')
    return sorted(place.glob('*.png'))


def asked(pipeline, requests, **more):
    return list(pipeline.ask_many(requests, progress=False, max_new_tokens=6, **more))


def test_the_same_texts_as_one_by_one_in_order(pipeline):
    frames = [frame(i, depth=i != 3) for i in range(5)]
    requests = [
        (frames[:2], QUESTIONS[0]),
        (frames[2], QUESTIONS[1]),
        (frames[:2], QUESTIONS[2]),
        (frames[3], QUESTIONS[1]),
        (frames, QUESTIONS[0]),
        (frames[2], QUESTIONS[2]),
    ]
    answers = asked(pipeline, iter(requests))
    alone = [pipeline.ask(*request, max_new_tokens=6) for request in requests]
    assert [a.text for a in answers] == [a.text for a in alone]
    assert [a.note for a in answers] == [a.note for a in alone]
    assert [a.tokens_after for a in answers] == [a.tokens_after for a in alone]
    assert [a.id for a in answers] == list(range(6))
    assert len({a.text for a in answers}) > 1


def test_frames_fill_batches_across_requests_and_each_is_encoded_once(pipeline, seen, photos):
    requests = [(photo, question) for question in QUESTIONS for photo in photos]
    answers = asked(pipeline, requests, frames_per_batch=2)
    assert seen[0] == [2, 2, 1]
    assert [a.frame_ids for a in answers[:2]] == [(str(photos[0]),), (str(photos[1]),)]
    assert sum(seen[1]) == 15
    assert sum(a.vision_ms > 0 for a in answers) == 5


def test_questions_about_the_same_frames_are_answered_together(pipeline, seen, photos):
    requests = [(photo, question) for photo in photos[:2] for question in QUESTIONS]
    asked(pipeline, [*requests, (photos[2], QUESTIONS[0]), (photos[3], QUESTIONS[1])])
    assert sorted(seen[1]) == [2, 3, 3]


@pytest.mark.parametrize('size', [1, 2, 5])
def test_a_batch_size_is_kept_to(pipeline, seen, photos, size):
    requests = [(photo, QUESTIONS[i % 3]) for i, photo in enumerate(photos)]
    asked(pipeline, requests, batch_size=size)
    assert max(seen[1]) == size
    assert len(seen[1]) == -(-5 // size)


def test_answers_come_before_the_last_request_is_made(pipeline):
    made = []

    def requests():
        for number in range(200):
            made.append(number)
            yield frame(number % 3), QUESTIONS[0]

    answers = pipeline.ask_many(
        requests(), batch_size=4, frames_per_batch=4, progress=False, max_new_tokens=1
    )
    next(answers)
    assert len(made) < 4 + 4 + opening.AHEAD + 4
    answers.close()


def test_memory_does_not_grow_with_the_number_of_requests(pipeline, monkeypatch):
    monkeypatch.setattr(opening, 'REMEMBERED', 8)
    alive = weakref.WeakSet()
    tokens = weakref.WeakSet()
    encode = pipeline.encoder.encode

    def encoded(*args):
        found = encode(*args)
        tokens.update(found)
        return found

    pipeline.encoder.encode = encoded

    def requests():
        for number in range(300):
            one = frame(number)
            alive.add(one)
            yield one, QUESTIONS[0]

    most_frames = most_tokens = 0
    asking = {'batch_size': 4, 'frames_per_batch': 4, 'progress': False, 'max_new_tokens': 1}
    for number, _ in enumerate(pipeline.ask_many(requests(), **asking)):
        if number % 25 == 24:
            gc.collect()
            most_frames, most_tokens = max(most_frames, len(alive)), max(most_tokens, len(tokens))
    assert 0 < most_frames < 30
    assert 0 < most_tokens < 30


def test_frames_that_their_owner_keeps_do_not_keep_tokens(pipeline):
    frames = [frame(i) for i in range(3)]
    asked(pipeline, [(one, QUESTIONS[0]) for one in frames])
    assert len(pipeline._tokens) == 0


def test_an_error_is_raised_at_its_turn_or_recorded(pipeline, photos):
    requests = [
        (photos[0], 'What?'),
        ('gone.png', 'What?'),
        {'id': 'mine', 'image': photos[1], 'question': ' '},
        (photos[1], 'Which <image> token?'),
        'nonsense',
        {'frames': photos[0], 'question': 'What?', 'colour': 1},
        ([], 'What?'),
        {'id': 'last', 'frames': [photos[2]], 'question': 'What?'},
    ]
    answers = asked(pipeline, requests, on_error='record')
    assert [bool(a.error) for a in answers] == [False, *[True] * 6, False]
    assert [a.id for a in answers] == [0, 1, 'mine', 3, 4, 5, 6, 'last']
    assert 'gone.png: no such file' in answers[1].error
    assert "unknown field 'colour'" in answers[5].error
    assert answers[1].text == ''
    before = []
    with pytest.raises(FrameError, match=r'^request 1: gone.png: no such file'):
        before.extend(pipeline.ask_many(requests, progress=False))
    again = pipeline.ask_many(requests, progress=False, max_new_tokens=6)
    assert next(again).text == answers[0].text


def test_bad_settings_are_named(pipeline):
    for more, message in [
        ({'batch_size': 0}, 'batch_size: 0'),
        ({'batch_size': True}, 'batch_size: True'),
        ({'batch_size': 'all'}, "batch_size: 'all'"),
        ({'frames_per_batch': 0}, 'frames_per_batch: 0'),
        ({'on_error': 'ignore'}, "on_error: 'ignore'"),
    ]:
        with pytest.raises(QuestionError, match=message):
            asked(pipeline, [], **more)


def test_depth_of_files_is_used(pipeline, photos, tmp_path):
    depth = tmp_path / 'depth.png'
    Image.fromarray(np.full((60, 80), 1500, np.uint16)).save(depth)
    request = {'image': photos[0], 'depth': depth, 'depth_scale': 1000, 'question': 'How many?'}
    camera = {'intrinsics': '60,60,40,30'}
    answers = asked(pipeline, [request, {**request, **camera}, (photos[0], 'How many?')])
    assert [a.spatial for a in answers] == ['levels', 'metric', 'none']


def out_of_memory_above(count, call, kind):
    def limited(items, *args, **more):
        if len(items) > count:
            raise kind
        return call(items, *args, **more)

    return limited


@pytest.mark.parametrize(
    'kind',
    [
        torch.OutOfMemoryError('CUDA out of memory'),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=['cuda', 'cpu'],
)
def test_what_does_not_fit_is_halved_until_it_does(pipeline, seen, photos, kind):
    answerer, encoder = pipeline.answerer, pipeline.encoder
    answerer.answer_batch = out_of_memory_above(2, answerer.answer_batch, kind)
    encoder.encode = out_of_memory_above(3, encoder.encode, kind)
    requests = [(photo, QUESTIONS[i % 3]) for i, photo in enumerate(photos)]
    answers = asked(pipeline, requests)
    assert not any(a.error for a in answers)
    assert max(seen[0]) <= 3
    assert max(seen[1]) <= 2
    with pytest.raises(ModelError, match=r'a batch of 5 .* does not fit into memory; use a small'):
        asked(pipeline, requests, batch_size=5)


def test_another_runtime_error_is_no_lack_of_memory(pipeline, photos):
    pipeline.answerer.answer_batch = out_of_memory_above(
        0, pipeline.answerer.answer_batch, RuntimeError('a bug')
    )
    with pytest.raises(RuntimeError, match=r'^a bug$'):
        asked(pipeline, [(photos[0], 'What?')])


def test_auto_asks_for_no_more_than_memory_has(pipeline, monkeypatch):
    model = pipeline.answerer.model
    each = bytes_per_token(model)
    monkeypatch.setattr('tosa_ros.pipeline.fitting.free_memory', lambda device: 1000 * each)
    fit = Fit('auto', model, 6)
    assert fit.takes([44] * 8)
    assert not fit.takes([44] * 9)
    assert not fit.takes([10, 10, 400])  # short ones are padded to the longest
    assert fit.takes([10_000])
    monkeypatch.setattr('tosa_ros.pipeline.fitting.free_memory', lambda device: None)
    assert Fit('auto', model, 6).takes([44] * 64)
    assert not Fit('auto', model, 6).takes([44] * 65)


def test_merging_may_not_change_while_requests_are_answered(pipeline, photos):
    answers = pipeline.ask_many(
        [(photo, 'What?') for photo in photos], progress=False, batch_size=1, frames_per_batch=1
    )
    next(answers)
    pipeline.merging = ToMe(keep=0.5)
    with pytest.raises(MergingError, match='changed while'):
        list(answers)


def test_progress_is_told(pipeline, photos):
    told = []
    requests = [(photo, 'What?') for photo in photos[:2]]
    list(pipeline.ask_many(requests, progress=lambda *count: told.append(count)))
    list(pipeline.ask_many(iter(requests), progress=lambda *count: told.append(count)))
    assert told == [(1, 2), (2, 2), (1, None), (2, None)]


def test_another_engine_is_given_requests_and_gives_answers(pipeline):
    class Echo:
        def answers(self, requests):
            for request in requests:
                assert isinstance(request, Request)
                yield Answer(request.question, str(request.frames), id=request.id)

    answers = pipeline.ask_many([('a.png', 'What?')], engine=Echo(), progress=False)
    assert [(a.text, a.id) for a in answers] == [('a.png', 0)]
    with pytest.raises(QuestionError, match='max_new_tokens: the engine does not see it'):
        asked(pipeline, [], engine=Echo())


def test_an_answer_is_plain_data(pipeline, photos):
    (answer,) = asked(pipeline, [{'id': 'x', 'image': photos[0], 'question': 'Wo ist Müll?'}])
    record = json.loads(answer.to_json())
    assert (record['id'], record['method'], record['keep']) == ('x', 'tosa', 0.25)
    assert record['frame_ids'] == [str(photos[0])]
    assert record['model'] == pipeline.model
    assert 'Müll' in answer.to_json()
    assert 'views' not in record
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_what_an_answer_looked_at_is_kept_where_it_is_wanted(pipeline, photos):
    (answer,) = asked(pipeline, [(photos[0], 'What?')], evidence=True)
    assert len(answer.evidence.weights[0]) == 9
    assert 'top' in json.loads(answer.to_json())['evidence']


def test_answers_are_a_table(pipeline, photos):
    pandas = pytest.importorskip('pandas')
    answers = asked(pipeline, [(photo, 'What?') for photo in photos])
    table = answers_to_dataframe(answers)
    assert isinstance(table, pandas.DataFrame)
    assert table.text.tolist() == [a.text for a in answers]
    assert list(answers_to_dataframe([]).columns) == list(table.columns)


def test_a_notebook_shows_picture_and_tokens(pipeline, photos):
    one = frame()
    held = pipeline.ask(frame(), 'How <b>many</b>?', max_new_tokens=1)
    of_file, of_frame, of_lost = asked(
        pipeline, [(photos[0], 'What?'), (one, 'What?'), (np.asarray(Image.open(photos[1])), '?')]
    )
    for answer in (held, of_file, of_frame):
        page = answer._repr_html_()
        assert page.count('data:image/png;base64,') == 1
        assert '9 of 36 visual tokens' in page
    assert '&lt;b&gt;many' in held._repr_html_()
    assert 'is not in memory' in of_lost._repr_html_()
    (wrong,) = asked(pipeline, [('gone.png', 'What?')], on_error='record')
    assert 'no answer: gone.png' in wrong._repr_html_()


def test_a_path_asked_about_again_costs_no_vision(pipeline, seen, photos):
    first = pipeline.ask(photos[0], 'What?')
    again = pipeline.ask(str(photos[0]), 'What?')
    assert seen[0] == [1]
    assert (again.vision_ms, again.text) == (0, first.text)
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(photos[0].parent / 'new.png')
    pipeline.ask(photos[0].parent / 'new.png', 'What?')
    assert seen[0] == [1, 1]
    for number in range(20):
        pipeline.ask(np.full((8, 8, 3), number, np.uint8), 'What?', max_new_tokens=1)
    assert len(pipeline._given) == 8


def test_a_batch_takes_a_generator_and_encodes_all_its_new_frames_at_once(pipeline, seen):
    frames = [frame(i) for i in range(4)]
    answers = pipeline.answer_batch((one, QUESTIONS[0]) for one in frames)
    assert len(answers) == 4
    assert seen == ([4], [4])


def test_questions_may_be_asked_from_a_coroutine(pipeline, photos):
    async def both():
        return await asyncio.gather(*(pipeline.aask(p, 'What?') for p in photos[:3]))

    answers = asyncio.run(both())
    assert [a.text for a in answers] == [pipeline.ask(p, 'What?').text for p in photos[:3]]


def test_stopping_early_ends_the_work(pipeline, photos):
    engine = LocalEngine(pipeline, batch_size=1, frames_per_batch=1)
    requests = (Request(i, 'What?', photos[i % 5]) for i in range(10**9))
    answers = engine.answers(requests)
    next(answers)
    answers.close()
    assert next(requests).id < 50
