from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tosa_ros.training.tokenizer import (
    encode_questions,
    prompt_parts,
    tokenizer_from_json,
    train_tokenizer,
)

TOKENIZER = train_tokenizer(['What colour is the cone?', 'Is the blue ball small or large?'] * 3)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=['Cs'])))
def test_any_text_survives(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    if not any(special in text for special in TOKENIZER.all_special_tokens):
        assert TOKENIZER.decode(ids) == text


def test_words_of_the_world_are_one_token_each():
    assert len(TOKENIZER.encode('What colour is the cone?')) == 6


def test_same_texts_give_the_same_tokenizer_and_json_restores_it():
    text = TOKENIZER.backend_tokenizer.to_str()
    assert tokenizer_from_json(text).backend_tokenizer.to_str() == text
    again = train_tokenizer(['What colour is the cone?', 'Is the blue ball small or large?'] * 3)
    assert again.backend_tokenizer.to_str() == text


def test_training_reads_what_the_chat_template_writes():
    content = [{'type': 'image'}, {'type': 'image'}, {'type': 'text', 'text': 'How many?'}]
    written = TOKENIZER.apply_chat_template(
        [{'role': 'user', 'content': content}], tokenize=True, add_generation_prompt=True
    )
    ids = written['input_ids'] if hasattr(written, 'keys') else written
    opening, _, _ = prompt_parts(TOKENIZER)
    ((sequence, start),) = encode_questions(TOKENIZER, [('How many?', '3')])
    image = TOKENIZER.convert_tokens_to_ids('<image>')
    assert ids == [*opening, image, image, *sequence[:start]]
    assert TOKENIZER.decode(sequence[start:]) == '3<|im_end|>'
