"""Checkpoints whose template or tokenizer is a trap, and questions that cost too much."""

from __future__ import annotations

import json
import resource
import shutil
import time

import numpy as np
import pytest

from tosa_ros import chat_templates
from tosa_ros.chat_templates import ChatTemplate
from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.frames import Frame
from tosa_ros.merging import ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.vlm import Answerer

LOOPS = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}'
DOUBLING = (
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    '{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}'
)
MACRO = '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}'


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (LOOPS, 'more than'),
        (DOUBLING, ''),
        ("{{ 'x' * 10**11 }}", ''),
        ("{{ 'x'.ljust(10**11) }}", ''),
        ("{{ 'x' * 300000 }}", 'writes 300,000 characters'),
        ('{% for i in range(10**15) %}{% endfor %}', 'OverflowError'),
        (MACRO, 'RecursionError'),
        ('{' * 100_000, ''),
        ("{{ ''.__class__.__mro__ }}", 'SecurityError'),
        ("{{ cycler.__init__.__globals__.os.system('touch /tmp/x') }}", 'SecurityError'),
        ('no question at all', 'leaves the question out'),
        ("{{ raise_exception('\x1b[31m\nno') }}", 'TemplateError'),
    ],
)
def test_a_template_costs_little_and_fails_in_one_line(text, said):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ModelError, match=r'chat template: ') as refused:
        ChatTemplate(text, {}).write('how many?', 1)
    assert said in str(refused.value)
    assert str(refused.value).isprintable()
    assert time.monotonic() - began < 10 * chat_templates.CPU_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_question_goes_in_as_it_is():
    template = ChatTemplate(
        "{% for c in messages[0]['content'] %}{{ '<i>' if c['type'] == 'image' else bos_token "
        "+ c['text'] }}{% endfor %}",
        {'bos_token': '<s>'},
    )
    assert (
        template.write('{{ 1 + 1 }} {% for %} \\1', 3) == '<i><i><i><s>{{ 1 + 1 }} {% for %} \\1'
    )
    assert template.write('a', 100) == 100 * '<i>' + '<s>a'
    alone = ChatTemplate("{{ messages[0]['content'] }}!", {}, with_images=False)
    assert alone.write('a') == 'a!'


@pytest.fixture
def pipeline(checkpoints):
    return VqaPipeline.from_pretrained(checkpoints['llava_onevision'], merging=ToSA(keep=0.5))


@pytest.fixture
def frame():
    return Frame(np.zeros((40, 40, 3), np.uint8))


def test_a_question_of_few_characters_and_many_tokens_is_refused(pipeline, frame):
    with pytest.raises(QuestionError, match=r'tokens .* at most 4,096 are read'):
        pipeline.ask(frame, '🪑' * 4000)


def test_reading_the_prompt_can_be_stopped(pipeline, frame):
    answerer = pipeline.answerer
    tokens = pipeline.visual_tokens(frame)
    wanted = answerer.answer(tokens, 'what is there?', max_new_tokens=4).text
    layers = len(answerer.model.get_decoder().layers)
    assert layers > 1
    for limit in range(1, 2 * layers):
        asked = []

        def stop(asked=asked, limit=limit):
            asked.append(None)
            return len(asked) > limit

        pieces = list(answerer.stream(tokens, 'and what is here?', max_new_tokens=4, stop=stop))
        assert len(asked) == limit + (1 if not pieces else len(asked) - limit)
        answer = answerer.answer(tokens, 'what is there?', max_new_tokens=4).text
        assert answer == wanted  # Half-read layers were forgotten.


def test_a_tokenizer_that_panics_is_one_line(checkpoints, tmp_path):
    path = tmp_path / 'model'
    shutil.copytree(checkpoints['llava_onevision'], path)
    core = json.loads((path / 'tokenizer.json').read_text())
    space = core['model']['vocab']['Ġ']
    # More to strip than there is, which the Rust panics at.
    core['decoder'] = {'type': 'Strip', 'content': 'Ġ', 'start': 1, 'stop': 1}
    (path / 'tokenizer.json').write_text(json.dumps(core))
    answerer = Answerer.from_pretrained(path)
    with pytest.raises(ModelError, match=r'tokenizer: .*slice index'):
        answerer.prompt.text_of([space])
