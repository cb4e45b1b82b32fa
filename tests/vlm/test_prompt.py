"""Chat templates: which one counts, and the errors of bad ones."""

from __future__ import annotations

import json
import shutil

import pytest

from tosa_ros.errors import ModelError
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.prompt import Prompt

# As language models have them: content is text, not a list of texts and images.
TEXT_ALONE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] }}{% endfor %}"
WITH_IMAGES = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}Q: {{ c['text'] }}{% endif %}"
    '{% endfor %}{% endfor %}'
)


@pytest.fixture
def folder(checkpoints, tmp_path):
    path = tmp_path / 'model'
    shutil.copytree(checkpoints['llava_onevision'], path)
    for file in path.glob('chat_template*'):
        file.unlink()

    def tokenizer(**changes):
        file = path / 'tokenizer_config.json'
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return path, tokenizer


def asked(path):
    prompt = Prompt.of(Checkpoint.open(path))
    return prompt, prompt.ids('how many?', 1)


def test_the_models_template_counts_not_the_tokenizers(folder):
    path, tokenizer = folder
    tokenizer(chat_template=TEXT_ALONE)
    (path / 'chat_template.json').write_text(json.dumps({'chat_template': WITH_IMAGES}))
    prompt, ids = asked(path)
    assert prompt.tokenizer.decode(ids) == '<image>Q: how many?'


@pytest.mark.parametrize(
    'template',
    [
        {'default': WITH_IMAGES, 'tool_use': TEXT_ALONE},
        [{'name': 'default', 'template': WITH_IMAGES}, {'name': 'rag', 'template': TEXT_ALONE}],
    ],
)
def test_of_several_templates_the_default_is_taken(folder, template):
    path, _ = folder
    (path / 'chat_template.json').write_text(json.dumps({'chat_template': template}))
    assert asked(path)[0].template == WITH_IMAGES


def test_a_template_that_knows_of_images_goes_before_one_that_does_not(folder):
    path, tokenizer = folder
    (path / 'chat_template.jinja').write_text(TEXT_ALONE)
    (path / 'chat_template.json').write_text(json.dumps({'chat_template': WITH_IMAGES}))
    assert asked(path)[0].template == WITH_IMAGES
    (path / 'chat_template.json').write_text('[]')
    tokenizer(chat_template=WITH_IMAGES)
    with pytest.raises(ModelError, match='chat template: '):
        asked(path)  # transformers itself takes the file for the tokenizer's


def test_a_template_without_images_is_reported_in_one_line(folder):
    path, tokenizer = folder
    tokenizer(chat_template=TEXT_ALONE)
    with pytest.raises(ModelError, match=r'chat template: .*wanted one for text and images'):
        asked(path)


@pytest.mark.parametrize('text', ['{% for', "{{ raise_exception('no') }}", '{{ 1 + "a" }}'])
def test_a_broken_template_is_reported_in_one_line(folder, text):
    path, _ = folder
    (path / 'chat_template.jinja').write_text(text)
    with pytest.raises(ModelError, match='chat template: '):
        asked(path)


def test_a_broken_template_file_is_reported_in_one_line(folder):
    path, _ = folder
    (path / 'chat_template.json').write_text('{"chat_template": ')
    with pytest.raises(ModelError, match='cannot be loaded'):
        asked(path)


def test_there_is_one_first_token_where_the_template_writes_it(folder):
    path, tokenizer = folder
    tokenizer(bos_token='<|im_start|>', chat_template='{{ bos_token }}' + WITH_IMAGES)
    prompt, _ = asked(path)
    first = prompt.tokenizer.bos_token_id
    core = json.loads((path / 'tokenizer.json').read_text())
    core['post_processor'] = {
        'type': 'TemplateProcessing',
        'single': [
            {'SpecialToken': {'id': '<|im_start|>', 'type_id': 0}},
            {'Sequence': {'id': 'A', 'type_id': 0}},
        ],
        'pair': [{'Sequence': {'id': 'A', 'type_id': 0}}, {'Sequence': {'id': 'B', 'type_id': 1}}],
        'special_tokens': {
            '<|im_start|>': {'id': '<|im_start|>', 'ids': [first], 'tokens': ['<|im_start|>']}
        },
    }
    (path / 'tokenizer.json').write_text(json.dumps(core))
    prompt, ids = asked(path)
    assert prompt.tokenizer('how many?')['input_ids'][0] == first
    assert ids.count(first) == 1
    tokenizer(chat_template=WITH_IMAGES)
    assert asked(path)[1].count(first) == 1
