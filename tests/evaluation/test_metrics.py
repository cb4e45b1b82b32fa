"""Metrics against the official scorers' goldens and quirks, and properties that must hold."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics import (
    gqa,
    interval,
    llm_match,
    make_score,
    scanqa,
    sqa3d,
    text,
    vqa,
    vsibench,
)
from tosa_ros.evaluation.metrics.score import mean_over_questions

WORDS = st.lists(
    st.sampled_from(
        ['a', 'The', 'red-and-white', 'car.', '2,000', 'dont', 'none', 'Ten', 'no,', 'tv', 'mat2']
    ),
    max_size=4,
).map(' '.join)


# VSI-Bench


@pytest.mark.parametrize(
    ('predicted', 'target', 'wanted'), [(1.5, 1, 0.1), (1.05, 1, 1.0), (2, 1, 0.0), (0, 5, 0.0)]
)
def test_mean_relative_accuracy_goldens(predicted, target, wanted):
    assert vsibench.mean_relative_accuracy(predicted, target) == pytest.approx(wanted)


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6), st.floats(0.01, 1e3))
def test_mean_relative_accuracy_is_bounded_and_blind_to_units(predicted, target, unit):
    plain = vsibench.mean_relative_accuracy(predicted, target)
    assert 0 <= plain <= 1
    assert vsibench.mean_relative_accuracy(target, target) == 1
    scaled = vsibench.mean_relative_accuracy(predicted * unit, target * unit)
    assert abs(scaled - plain) <= 0.1 + 1e-9  # rounding may move one threshold


@pytest.mark.parametrize(
    ('task', 'prediction', 'truth', 'strict', 'lenient'),
    [
        ('route_planning', 'b. turn left', 'B', 1, 1),
        ('route_planning', 'The answer is B.', 'B', 0, 1),
        ('route_planning', '(B) the door', 'B', 0, 1),
        ('route_planning', 'Turn left', 'B', 0, 1),
        ('route_planning', 'I think it is B', 'B', 0, 1),
        ('route_planning', 'I would turn left', 'B', 0, 1),
        ('route_planning', 'The answer is A', 'A', 0, 1),
        ('route_planning', 'Option A', 'A', 0, 1),
        ('route_planning', 'Option A is right', 'A', 0, 1),
        ('route_planning', 'I need A left turn: turn left', 'B', 0, 1),
        ('route_planning', 'Plan C: turn left', 'B', 0, 1),
        ('route_planning', 'A', 'B', 0, 0),
        ('route_planning', '', 'B', 0, 0),
        ('object_counting', '4', '4', 1, 1),
        ('object_counting', '4.', '4', 1, 1),
        ('object_counting', ' 4', '4', 0, 1),
        ('object_counting', 'four', '4', 0, 1),
        ('object_counting', 'There are 1,000 chairs', '1000', 0, 1),
        ('object_counting', 'nan', '4', 0, 0),
        ('object_counting', 'inf', '4', 0, 0),
        ('object_abs_distance', '2.1m', '2.1', 0, 1),
        ('route_planning', 'A or B', 'B', 0, 0),
        ('route_planning', 'turn right or turn left', 'B', 0, 0),
    ],
)
def test_vsibench_parsing(task, prediction, truth, strict, lenient):
    options = ['A. Turn right', 'B. Turn left']
    assert vsibench.score_strict(task, prediction, truth) == strict
    assert vsibench.score_lenient(task, prediction, truth, options) == lenient


@given(
    st.sampled_from(vsibench.NUMERIC_TASKS + vsibench.CHOICE_TASKS),
    st.one_of(st.text(max_size=12), st.sampled_from(['A', 'b.', 'A chair', '3', '3.0 m', '-1'])),
)
def test_lenient_never_scores_below_strict(task, prediction):
    truth = '3' if task in vsibench.NUMERIC_TASKS else 'A'
    strict = vsibench.score_strict(task, prediction, truth)
    assert vsibench.score_lenient(task, prediction, truth) >= strict


@pytest.mark.parametrize(
    ('prediction', 'truth', 'wanted'),
    [
        ('There are 3 boxes', '3', 1),
        ('three hundred and twenty-one', '321', 1),
        ('two thousand', '2000', 1),
        ('one apple, room 2', '1', 1),
        ('2 rooms, one apple', '2', 1),
        ('1,000', '1000', 0),  # it reads 1
        ('none that I see', '1', 0),
        ('', '1', 0),
    ],
)
def test_vsibench_as_lmms_eval_reads_numbers(prediction, truth, wanted):
    assert vsibench.score_lmms('object_counting', prediction, truth) == wanted
    assert vsibench.score_lmms('route_planning', 'B. left', 'B') == 1
    assert vsibench.score_lmms('route_planning', 'It is B', 'B') == 0


def test_vsibench_overall_averages_directions_first():
    tasks = np.array([*vsibench.DIRECTION_TASKS, 'object_counting', 'object_counting'])
    values = np.array([90.0, 60.0, 30.0, 0.0, 20.0])
    assert vsibench.overall(values, tasks) == pytest.approx((60 + 10) / 2)


# VQAv2


@pytest.mark.parametrize(
    ('answer', 'wanted'),
    [
        ('A red-and-white car.', 'red and white car'),
        ('2,000', '2000'),
        ('dont know', "don't know"),
        ('The Three', '3'),
        ('none', '0'),
        ('im', 'im'),  # the official table has it in capitals, which never occur
        ("couldntve couldnt've", "couldntve couldn't've"),
        ("somebody'd", 'somebodyd'),
        ('3.5 m.', '3.5 m'),
        ('yes / no', 'yes no'),
        ('yes/no', 'yes no'),
        ('no,', 'no'),
        ('.' * 40, '.' * 8),  # no more than 32 periods go
    ],
)
def test_vqa_processing_goldens(answer, wanted):
    assert vqa.processed(answer) == wanted


@pytest.mark.parametrize(
    ('matches', 'wanted'), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1)]
)
def test_vqa_accuracy_by_matches(matches, wanted):
    answers = ['cat'] * matches + ['dog'] * (10 - matches)
    assert vqa.accuracy('The cat', answers) == pytest.approx(wanted)


def test_vqa_accuracy_processes_only_when_annotators_differ():
    assert vqa.accuracy('Yes', ['yes'] * 10) == 0
    assert vqa.accuracy('Yes', ['yes'] * 9 + ['no']) == 1
    assert vqa.accuracy(' y\tes\n', ['y es'] * 10) == 1


@settings(deadline=None)
@given(WORDS, st.lists(WORDS, min_size=10, max_size=10), st.randoms())
def test_vqa_accuracy_ignores_the_order_of_answers(prediction, answers, random):
    before = vqa.accuracy(prediction, answers)
    shuffled = list(answers)
    random.shuffle(shuffled)
    assert vqa.accuracy(prediction, shuffled) == pytest.approx(before)
    assert 0 <= before <= 1


def test_vqa_accuracy_as_lmms_eval_always_processes():
    assert vqa.accuracy_lmms('Yes', ['yes'] * 10) == 1
    assert vqa.accuracy_lmms('two', ['2'] * 10) == 1
    answers = ['yes'] * 9 + ['no']
    assert vqa.accuracy_lmms('Yes', answers) == vqa.accuracy('Yes', answers)


def test_counting_subset():
    assert vqa.is_counting('How many cups are there?')
    assert not vqa.is_counting('About how many cups?')
    assert vqa.counting_match('two', ['2'] * 6 + ['3'] * 4) == 1
    assert vqa.counting_match('There are 2', ['2'] * 10) == 0


# SQA3D


@pytest.mark.parametrize(
    ('answer', 'wanted'),
    [
        (' The Chair. ', 'chair'),
        ('2', 'two'),
        ('23 chairs', 'twenty-three chairs'),
        ('21', '21'),
        ('none', 'zero'),
        ('a tv', 'TV'),
        ('letf of  the door', 'left of door'),
        ('mat2', 'mat'),
        ("3 o'  clock", "three o'clock"),
        ('backwards', 'backward'),
        ('the', 'the'),  # an article goes only before a word
    ],
)
def test_sqa3d_cleaning(answer, wanted):
    assert sqa3d.cleaned(answer) == wanted


@pytest.mark.parametrize(
    ('prediction', 'answer', 'strict', 'refined'),
    [
        ('The two.', '2', 1, 1),
        ('left side', 'left', 0, 1),
        ('left', 'left side', 0, 1),
        ('book shelf', 'bookshelf', 0, 1),
        ('brown table', 'white table', 0, 0),  # a shared word is not enough
        ('', 'left', 0, 0),
        ('...', 'left', 0, 0),
    ],
)
def test_sqa3d_matches(prediction, answer, strict, refined):
    assert sqa3d.strict_match(prediction, answer) == strict
    assert sqa3d.refined_match(prediction, answer) == refined


@given(WORDS, WORDS)
def test_sqa3d_refined_includes_strict_and_is_symmetric(one, other):
    assert sqa3d.refined_match(one, other) >= sqa3d.strict_match(one, other)
    assert sqa3d.refined_match(one, other) == sqa3d.refined_match(other, one)


@pytest.mark.parametrize(
    ('question', 'kind'),
    [('What is it?', 'what'), ('Isolated?', 'is'), ('Whichever', 'which'), ('Do I?', 'other')],
)
def test_sqa3d_types_are_prefixes(question, kind):
    assert sqa3d.question_type(question) == kind


# ScanQA and GQA


def test_scanqa_exact_match_is_raw():
    assert scanqa.exact_match_at(1, ['brown'], ['brown', 'dark brown']) == 1
    assert scanqa.exact_match_at(1, ['Brown'], ['brown']) == 0
    assert scanqa.exact_match_at(1, ['red', 'brown'], ['brown']) == 0
    assert scanqa.exact_match_at(10, ['red', 'brown'], ['brown']) == 1


@pytest.mark.skipif(shutil.which('java') is None, reason='METEOR is a Java program')
def test_scanqa_caption_scores():
    pytest.importorskip('pycocoevalcap')
    answers = {'a': ['on the left', 'left side of bed'], 'b': ['Brown.'], 'c': ['two chairs']}
    predictions = {'a': 'left of the bed', 'b': 'brown', 'c': ''}
    scores = {s.name: s.overall for s in scanqa.caption_scores(predictions, answers)}
    assert list(scores) == [*(f'BLEU-{n}' for n in range(1, 5)), 'METEOR', 'ROUGE-L', 'CIDEr']
    # By hand: 5 of 5 words, brevity exp(1 - 7/5); LCS F with beta 1.2 of 'left', all, nothing.
    assert scores['BLEU-1'] == pytest.approx(100 * math.exp(1 - 7 / 5), abs=0.01)
    assert scores['ROUGE-L'] == pytest.approx(100 * (0.75 + 1 + 0) / 3, abs=0.01)
    assert 0 < scores['METEOR'] < 100


def test_scanqa_without_java_says_so(monkeypatch):
    pytest.importorskip('pycocoevalcap')
    monkeypatch.setenv('PATH', '/nonexistent')
    with pytest.raises(DataError, match='java is on the PATH'):
        scanqa.caption_scores({'a': 'x'}, {'a': ['x']})


def test_gqa_exact_match():
    assert gqa.exact_match('Yes.', 'yes') == 1
    assert gqa.exact_match('yes it is', 'yes') == 0
    assert (gqa.exact_match('t-shirt', 'tshirt'), gqa.exact_match('yes!', 'yes')) == (0, 0)
    assert gqa.exact_match_lmms('T-shirt!', 'tshirt') == gqa.exact_match_lmms('yes!', 'Yes') == 1
    assert (gqa.kind('query'), gqa.kind('verify'), gqa.kind('choose')) == (
        'open',
        'binary',
        'binary',
    )


# LLM-Match


@pytest.mark.parametrize(
    ('prediction', 'wanted'),
    [
        ('A cat. It is', 'A cat.'),
        ('A cat.', 'A cat.'),
        ('A cat', 'A cat'),
        ('It is 3.5 m', 'It is 3.'),
        ('', ''),
    ],
)
def test_predictions_are_cut_after_the_last_period(prediction, wanted):
    assert llm_match.cut_answer(prediction) == wanted


@pytest.mark.parametrize(
    ('output', 'mark'),
    [('4', 4), ('5\n', 5), ('Your mark: 3', 3), ('Well.\nYour mark: 2\nbecause', 2), ('17', 17)],
)
def test_marks_are_parsed(output, mark):
    assert llm_match.parse_mark(output) == mark


@pytest.mark.parametrize('output', ['', 'four', 'mark: 4', 'Your mark: 4.5', 'Your mark: good'])
def test_no_mark_is_an_error_not_a_zero(output):
    with pytest.raises(ValueError, match=r'mark|literal'):
        llm_match.parse_mark(output)


@pytest.mark.parametrize(
    ('mark', 'value'), [(0, 0), (1, 0), (2, 0.25), (3, 0.5), (4, 0.75), (5, 1), (17, 1)]
)
def test_marks_are_clipped(mark, value):
    assert llm_match.mark_value(mark) == value


# Plain text


@pytest.mark.parametrize(
    ('prediction', 'answer', 'right'),
    [
        ('', 'A', 0),  # once an article, and nothing left of it
        ('the', 'A', 0),
        ('a.', 'A', 1),
        ('', '!', 0),
        ('', '...', 0),
        ('!', '!', 1),
        ('', '', 0),
        ('plan', 'plan A', 0),
        ('plan a', 'Plan A', 1),
        ('The Cat!', 'cat', 1),
        ('a cup', 'the cup', 1),
        ('25', '2.5', 0),
        ('2.5.', '2.5', 1),
        ('It is 2.5', 'It is 2.5', 1),
        ('5', '.5', 0),
        ('0.5', '.5', 1),
        ('35', '-3.5', 0),
        ('3.5', '-3.5', 0),
        ('\u22123.5', '-3.5', 1),
        ('(-3.5)', '-3.5', 1),
        ('-0.5', '-.5', 1),
        ('1000', '1,000', 1),
        ('1,234,567.5', '1234567.5', 1),
        ('1,000, I think', '1000 I think', 1),
        ('34', '3,4', 0),
        ('34', '3-4', 0),
        ('3 4', '3-4', 1),
        ('1030', '10:30', 0),
        ('12', '1/2', 0),
        ('20240501', '2024-05-01', 0),
        ('13', '1e-3', 0),
        ('50', '50%', 0),
        ('50 %.', '50%', 1),
        ('>5', '<5', 0),
        ('3', 'A-3', 0),
        ('3.10', '3.1', 0),
        ('192.168.0.1', '19216801', 0),
        ('it\u2019s a t-shirt', "it's a t-shirt", 1),
        ('\u201cmug\u201d', 'mug', 1),
    ],
)
def test_exact_match_keeps_numbers_whole_and_matches_nothing_by_emptiness(
    prediction, answer, right
):
    assert text.exact_match(prediction, [answer]) == right
    assert (text.token_f1(prediction, [answer]) == 1) == right


@given(st.floats(-1e6, 1e6).map(lambda x: format(x, '.3f')), st.floats(-1e6, 1e6))
def test_two_numbers_match_only_where_they_are_the_same(one, number):
    other = format(number, '.3f')
    assert text.exact_match(one, [other]) == (one == other)
    assert text.exact_match(f'({one}).', [one]) == 1


@given(st.text(max_size=8))
def test_an_empty_reply_matches_nothing(answer):
    assert text.exact_match('', [answer]) == text.token_f1('', [answer]) == 0


def test_exact_match_and_f1():
    assert text.exact_match('The Cat!', ['cat']) == 1
    assert text.token_f1('a red cup', ['blue cup', 'plate']) == pytest.approx(0.5)
    assert text.token_f1('', ['cup']) == 0
    assert text.token_f1('cup cup', ['cup']) == pytest.approx(2 / 3)


@given(WORDS, WORDS)
def test_f1_is_symmetric_and_one_only_for_equal_bags(one, other):
    assert text.token_f1(one, [other]) == pytest.approx(text.token_f1(other, [one]))
    assert text.token_f1(one, [other]) >= text.exact_match(one, [other])


# Intervals


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_interval_holds_the_score_and_repeats(values):
    labels = ['x'] * len(values)
    score = make_score('m', dict(enumerate(values)), labels)
    low, high = score.interval
    assert low - 1e-9 <= score.overall <= high + 1e-9
    assert interval(100 * np.array(values), np.array(labels)) == (low, high)


def test_interval_narrows_with_more_questions():
    draws = np.random.default_rng(0).random(400)
    widths = [
        np.ptp(interval(100 * draws[:n], np.array(['x'] * n), mean_over_questions))
        for n in (25, 400)
    ]
    assert widths[1] < widths[0] / 2


def test_score_by_category():
    score = make_score('m', {1: 1.0, 2: 0.0, 3: 1.0}, ['a', 'b', 'a'])
    assert score.by_category == {'a': 100.0, 'b': 0.0}
    assert score.overall == pytest.approx(200 / 3)
    assert score.values == {1: 100.0, 2: 0.0, 3: 100.0}
