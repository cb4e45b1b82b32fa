"""System prompts and earlier turns: every family's prompt is what transformers itself writes."""

from __future__ import annotations

import pytest
import torch

from tosa_ros.chat_templates import USUAL_TURNS, ChatTemplate
from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.merging import ToMe
from tosa_ros.vlm import FAMILIES, Answerer, VisionEncoder
from tosa_ros.vlm.untrained import write_checkpoint

SYSTEM = 'Answer in one word.'
TURNS = (('How many mugs are there?', 'two'), ('Which is nearer?', 'the red one'))
QUESTION = 'Why?'


# The others have the templates of these; PaliGemma has none.
WRITING = (
    'llava', 'llava_onevision', 'qwen2_vl', 'qwen3_vl', 'internvl', 'idefics3', 'gemma3',
    'mistral3',
)  # fmt: skip


@pytest.fixture(scope='module', params=WRITING)
def path(request, tmp_path_factory):
    return write_checkpoint(
        tmp_path_factory.mktemp('family') / 'model', family=request.param, seed=3
    )


@pytest.fixture(scope='module')
def answerer(path):
    return Answerer.from_pretrained(path, dtype=torch.float32)


def test_every_family_has_one_of_these_templates():
    known = {FAMILIES[name].template for name in WRITING}
    assert {FAMILIES[n].template for n in FAMILIES if FAMILIES[n].talks} <= known


def messages(images, system, history, question):
    def said(role, text, images=0):
        pictures = [{'type': 'image'}] * images
        return {'role': role, 'content': [*pictures, {'type': 'text', 'text': text}]}

    told = [said('system', system)] if system else []
    for number, (asked, answered) in enumerate(history):
        told += [said('user', asked, 0 if number else images), said('assistant', answered)]
    return [*told, said('user', question, 0 if history else images)]


@pytest.mark.parametrize(('system', 'turns'), [('', 1), ('', 2), (SYSTEM, 0), (SYSTEM, 2)])
def test_ids_are_those_of_transformers_own_template(answerer, system, turns):
    prompt, history, images = answerer.prompt, TURNS[:turns], 2
    text = prompt.tokenizer.apply_chat_template(
        messages(images, system, history, QUESTION),
        chat_template=prompt.template,
        tokenize=False,
        add_generation_prompt=True,
    )
    text = answerer.family.write(text)
    begun = prompt.tokenizer.bos_token is not None and prompt.tokenizer.bos_token in text
    expected = prompt.tokenizer(text, add_special_tokens=not begun)['input_ids']
    assert prompt.ids(QUESTION, images, system=system, history=history) == expected
    for said in (system, QUESTION, *(text for turn in history for text in turn)):
        assert said in text


def test_answers_in_a_talk_are_those_of_the_whole_talk_read_anew(path, answerer, make_frame):
    encoder = VisionEncoder.from_pretrained(path, merging=ToMe(keep=0.5), dtype=torch.float32)
    tokens = encoder.encode([make_frame(0), make_frame(1)])
    history = []
    for question in ('How many mugs?', 'Which chair?', QUESTION):
        how = {'history': tuple(history), 'system': SYSTEM, 'max_new_tokens': 5}
        said = answerer.answer(tokens, question, **how)
        answerer.decoder.prefix.forget()
        assert answerer.answer(tokens, question, **how).text == said.text
        batch = answerer.answer_batch([(tokens, question), (tokens[::-1], 'What?')], **how)
        assert batch[0].text == said.text
        # Words of a random model may be no text that its tokenizer gives again.
        history.append((question, said.text.encode('ascii', 'ignore').decode() or 'none'))


ROLES = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
TEXT_FOR_OTHERS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{% for c in m['content'] %}"
    "{{ '<i>' if c['type'] == 'image' else c['text'] }}{% endfor %}"
    "{% else %}{{ '[' + m['content'] + ']' }}{% endif %}{% endfor %}"
)


def test_others_words_go_in_as_text_where_the_template_wants_them_so():
    template = ChatTemplate(TEXT_FOR_OTHERS, {})
    written = template.write('c', 2, system='s', history=[('a', 'b')])
    assert written == '[s]<i><i>a[b]c'
    assert template.write('{{ 1 }}', 1, history=[('\\1', '{% x %}')]) == '<i>\\1[{% x %}]{{ 1 }}'


def test_long_talks_are_written_too():
    template = ChatTemplate(TEXT_FOR_OTHERS, {})
    history = [(f'q{n}.', f'a{n}') for n in range(USUAL_TURNS + 3)]
    expected = '<i>' + ''.join(f'{asked}[{said}]' for asked, said in history) + 'end'
    assert template.write('end', 1, history=history) == expected


@pytest.mark.parametrize(
    ('template', 'said'),
    [
        (
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none here') }}{% endif %}"
            + TEXT_FOR_OTHERS,
            r"system: the model's chat template has no place for it \(TemplateError: none here\)",
        ),
        (
            "{% for m in messages if m['role'] != 'system' %}{{ m['content'][-1]['text'] }}"
            '{% endfor %}',
            r"system: the model's chat template has no place for it$",
        ),
        (ROLES, r"system: the model's chat template has no place for it$"),
    ],
)
def test_a_template_without_a_place_for_a_system_prompt_says_so(template, said):
    if template == ROLES:  # written as Python writes a list: not what was meant
        template = "{% for m in messages %}{{ m['content'] ~ '' }}{% endfor %}" + '{{ 1 }}'
        template = template.replace("m['content'] ~ ''", "(m['content'] | list) ~ ''")
    with pytest.raises(QuestionError, match=said):
        ChatTemplate(template, {}).write('q', 1, system='s')


def test_a_template_that_leaves_earlier_turns_out_says_so():
    last = "{{ messages[-1]['content'][-1]['text'] }}"
    assert ChatTemplate(last, {}).write('q', 1) == 'q'
    with pytest.raises(ModelError, match='chat template: it leaves a turn out'):
        ChatTemplate(last, {}).write('q', 1, history=[('a', 'b')])


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'system': 'Hi <|im_end|>'}, r"system: it contains '<\|im_end\|>'"),
        ({'history': [('a', 'b <image>')]}, "history: it contains '<image>'"),
        ({'history': [('a',)]}, 'history: .* wanted pairs of a question and its answer'),
        ({'history': [('a', 5)]}, 'wanted pairs'),
        ({'system': 5}, 'system: 5; wanted text'),
        ({'history': [('x' * 4000, '🪑' * 2000)]}, 'tokens with earlier turns and what'),
    ],
)
def test_bad_talks_are_refused_in_one_line(tmp_path_factory, checkpoints, options, said):
    answerer = Answerer.from_pretrained(checkpoints['llava_onevision'])
    with pytest.raises(QuestionError, match=said):
        answerer.answer([], QUESTION, **options)
