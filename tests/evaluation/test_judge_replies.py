"""Marks in the words of judges: which are read, and which are not taken for one."""

from __future__ import annotations

import contextlib
import time

import pytest

from tosa_ros.endpoint.replies import reply_text, without_thinking
from tosa_ros.evaluation.judge.replies import mark_in


@pytest.mark.parametrize(
    ('reply', 'mark'),
    [
        ('4', 4),
        ('5\n', 5),
        ('4.', 4),
        ('4/5', 4),
        ('4 / 5', 4),
        ('4.0', 4),
        ('**4**', 4),
        ('`4`', 4),
        ('"4"', 4),
        ('(4)', 4),
        ('\\boxed{4}', 4),
        ('Your mark: 3', 3),
        ('Well.\nYour mark: 2\nbecause', 2),
        ('**Your mark: 4**', 4),
        ('**Your mark:** 4', 4),
        ('Your mark: **4**.', 4),
        ('Your mark: 4/5', 4),
        ('your mark:\n\n4', 4),
        ('Score: 4 out of 5', 4),
        ('Score (1-5): 4', 4),
        ('The rating is 2.', 2),
        ('I give it a score of 3, as it names one of two.', 3),
        ('{"mark": 4}', 4),
        ('4\nBecause it says the same.', 4),
        ('4. It says the same.', 4),
        ('1. It is wrong.', 1),
        ('2 - half of it is missing', 2),
        ('4 (mostly right)', 4),
        ('The response says the same.\n\n4', 4),
        ('I would call this 4/5.', 4),
        ('<think>Perhaps 2? Your mark: 1.</think>\n\n5', 5),
        ('Hm, a cup is a mug. Your mark: 3?</think>4', 4),
        ('<THINKING>1</THINKING> Your mark: 4', 4),
        ('[THINK]no[/THINK]4', 4),
        ('<think>\n\n</think>\n\nYour mark: 4', 4),
    ],
)
def test_a_mark_is_read_in_any_usual_dress(reply, mark):
    assert mark_in(reply) == mark


@pytest.mark.parametrize(
    ('reply', 'why'),
    [
        ('', 'no mark'),
        ('four', 'no mark'),
        ('Your mark: good', 'no mark'),
        ('The response names 3 chairs.', 'no mark'),
        ('It names 2 of 5 things', 'no mark'),
        ('On a scale of 1 to 5', 'no mark'),
        ('1. It names a cup.\n2. It names no table.', 'no mark'),
        ('3-4', 'no mark'),
        ('Your mark: 3-4', 'no mark'),
        ('Score: 2. Score: 4.', 'several marks'),
        ('2\n4', 'several marks'),
        ('4.5', 'a whole number'),
        ('Your mark: 4.5', 'a whole number'),
        ('7', 'the mark is 7; wanted 1 to 5'),
        ('0', 'the mark is 0; wanted 1 to 5'),
        ('17', 'the mark is 17; wanted 1 to 5'),
        ('-1', 'the mark is -1; wanted 1 to 5'),
        ('Your mark: 10', 'the mark is 10; wanted 1 to 5'),
        ('8/10', '8 out of 10; wanted 1 to 5'),
        ('4/10', '4 out of 10; wanted 1 to 5'),
        ('Score: 80 out of 100', '80 out of 100; wanted 1 to 5'),
        ('<think>The answer is a cup, so 4', 'all thoughts: give it more --judge-max-tokens'),
        ('<think>4</think>', 'all thoughts'),
        ('9' * 5000, 'no mark'),
    ],
)
def test_what_is_no_mark_is_an_error_with_a_reason(reply, why):
    with pytest.raises(ValueError, match=why):
        mark_in(reply)


@pytest.mark.parametrize('piece', [' ', 'mark(', 'mark:', '4 ', '1-', '\n', '<think>', 'mark '])
def test_a_long_reply_costs_no_time(piece):
    start = time.perf_counter()
    with contextlib.suppress(ValueError):
        mark_in('mark' + piece * (200_000 // len(piece)))
    assert time.perf_counter() - start < 2


def test_thoughts_are_cut_away():
    assert without_thinking('<think>a</think> b <thinking>c</thinking> d') == 'd'
    assert without_thinking('a <think> of') == ''
    assert without_thinking('I think so') == 'I think so'


def test_a_message_may_be_in_parts_and_its_reasoning_is_no_reply():
    parts = [{'type': 'thinking', 'thinking': '1'}, {'type': 'text', 'text': '4'}]
    assert reply_text({'content': parts}) == '4'
    assert reply_text({'content': '4', 'reasoning_content': 'Your mark: 1'}) == '4'
    assert reply_text({'content': None, 'reasoning_content': 'Your mark: 1'}) == ''
    assert reply_text({'reasoning': '4'}) == ''
    with pytest.raises(TypeError):
        reply_text({'content': 4})
