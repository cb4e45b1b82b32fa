"""Questions with options: clear replies in any usual form, and nothing by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tosa_ros.evaluation.metrics.choice import choice_match, chosen, listed, options_of

THINGS = options_of(['cup', 'mug', 'red mug', 'no mug at all'])
YES_NO = options_of(['yes', 'no'])
NUMBERS = options_of(['2', '2.5', '-2.5', '25'])
LETTERS = options_of(['A', 'B', 'C', 'D'])


@pytest.mark.parametrize(
    'reply',
    [
        'B',
        'b',
        ' B\n',
        '(B)',
        '(b)',
        '[B]',
        'B.',
        'B)',
        '**B**',
        '`B`',
        '\\boxed{B}',
        '<answer>B</answer>',
        'B. mug',
        'b. mug',
        '(B) mug',
        'B: mug',
        'B) The mug.',
        'B. It is left of the door',
        'B. mug\nA is too far away.',
        'B. mug, not the cup',
        'Answer: B',
        'The answer is B.',
        'The answer is (B) because it is near',
        'Option B',
        'A is too far. C is no mug. So the answer is B',
        'I think B',
        'mug',
        'Mug.',
        'the mug',
        'A mug',
        'It is the mug.',
        'mug, I think',
    ],
)
def test_a_clear_reply_is_understood(reply):
    assert chosen(reply, THINGS) == 'B'


@pytest.mark.parametrize(
    'reply',
    [
        '',
        ' ',
        '...',
        'E',
        'A or B',
        'A/B',
        'A, B',
        'A and B',
        '(A) (B)',
        'A. B. C. D.',
        'B. cup',
        'mug or cup',
        'mug, cup',
        'mug, or the cup',
        'It is not the mug',
        'There is no mug',
        "It isn't the mug",
        'neither',
        'I do not know',
        'The answer is A. Or rather, the answer is B.',
        'smug',
    ],
)
def test_an_unclear_reply_is_no_choice(reply):
    assert chosen(reply, THINGS) is None
    assert choice_match(reply, ['B'], THINGS) == 0


@pytest.mark.parametrize(
    ('reply', 'options', 'wanted'),
    [
        ('the red mug', THINGS, 'C'),  # the longer text, not the mug in it
        ('I see a red mug.', THINGS, 'C'),
        ('No mug at all', THINGS, 'D'),
        ('A cup', THINGS, 'A'),
        ('Yes, there is no chair in the way', YES_NO, 'A'),
        ("No, it's not possible", YES_NO, 'B'),
        ('No.', YES_NO, 'B'),
        ('yes, no', YES_NO, None),
        ('I know nothing', YES_NO, None),
        ('2.5', NUMBERS, 'B'),
        ('25', NUMBERS, 'D'),
        ('-2.5', NUMBERS, 'C'),
        ('It is 2.5 m', NUMBERS, 'B'),
        ('It is -2.5 m.', NUMBERS, 'C'),
        ('2 or 25', NUMBERS, None),
        ('252', NUMBERS, None),
        ('D', LETTERS, 'D'),
        ('The answer is A because it is near', LETTERS, 'A'),
        ('A chair is near', LETTERS, None),
        ('I', options_of([f'thing {n}' for n in range(12)]), 'I'),
        ('I see thing 3', options_of([f'thing {n}' for n in range(12)]), 'D'),
    ],
)
def test_replies_by_the_kind_of_option(reply, options, wanted):
    assert chosen(reply, options) == wanted


@pytest.mark.parametrize(
    ('values', 'options'),
    [
        (['mug', 'cup'], {'A': 'mug', 'B': 'cup'}),
        (['A. mug', 'B. cup'], {'A': 'mug', 'B': 'cup'}),
        (['(A) mug', '(B) cup'], {'A': 'mug', 'B': 'cup'}),
        (['B: cup', 'A: mug'], {'B': 'cup', 'A': 'mug'}),
        (['(A)', '(B)'], {'A': '', 'B': ''}),
        (['X', 'Y'], {'A': 'X', 'B': 'Y'}),
        (['x: left', 'y: right'], {'A': 'x: left', 'B': 'y: right'}),
        (['A. M. Smith', 'Jones'], {'A': 'A. M. Smith', 'B': 'Jones'}),
    ],
)
def test_options_have_letters(values, options):
    assert options_of(values) == options


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (['mug'], '1 options; wanted 2 to 26'),
        (['mug', 'The mug'], "two options are 'mug'"),
        (['mug', ' '], 'option B is empty'),
        (['B', 'C', 'A chair'], "option A is 'b', the letter of another one"),
    ],
)
def test_options_that_cannot_be_told_apart(values, message):
    with pytest.raises(ValueError, match=message):
        options_of(values)


@given(st.sampled_from('ABCD'), st.sampled_from(['{}', '({})', '{}.', '{}) ', 'Answer: {}']))
def test_letters_in_any_dress(letter, dress):
    for options in (THINGS, LETTERS):
        assert chosen(dress.format(letter), options) == letter
    assert chosen(THINGS[letter], THINGS) == letter


@given(st.text(max_size=40))
def test_any_reply_is_taken(reply):
    assert chosen(reply, THINGS) in (*THINGS, None)


def test_the_prompt_lists_options_that_have_texts():
    assert listed(options_of(['mug', 'cup'])) == 'A. mug\nB. cup'
    assert listed(LETTERS) == listed(YES_NO) == ''
