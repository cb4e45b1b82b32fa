"""The small model's words: one token each, learned from the training questions.

Chat format: `<|user|><image>question<|answer|>answer<|end|>`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerFast

from benchmarks.real.nyu import Asked

PAD, USER, IMAGE, ANSWER, END, UNKNOWN = (
    '<|pad|>', '<|user|>', '<image>', '<|answer|>', '<|end|>', '<|unknown|>'
)  # fmt: skip
SPECIAL = (PAD, USER, IMAGE, ANSWER, END, UNKNOWN)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|user|>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    '{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}'
)
AT_LEAST = 2  # a question's word that occurs once teaches nothing


def word_tokenizer(asked: Iterable[Asked]) -> PreTrainedTokenizerFast:
    """Words of the questions that occur at least AT_LEAST times, and all words of the answers."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    split = pre_tokenizers.Split(Regex(r'\w+|[^\w\s]'), 'removed', invert=True)
    words: Counter[str] = Counter()
    for one in asked:
        words.update(_words(split, one.question))
        words.update(dict.fromkeys(_words(split, one.answer), AT_LEAST))
    known = [*SPECIAL, *sorted(word for word, count in words.items() if count >= AT_LEAST)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.WordPiece('##', cleanup=True)  # puts no space before a comma
    return wrapped(tokenizer)


def tokenizer_from_json(text: str) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer

    return wrapped(Tokenizer.from_str(text))


def wrapped(tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        extra_special_tokens={'user_token': USER, 'image_token': IMAGE, 'answer_token': ANSWER},
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def encode(
    tokenizer: PreTrainedTokenizerFast, asked: Sequence[Asked]
) -> list[tuple[list[int], int]]:
    """Token ids of each question and answer as they follow the image, and the answer's start."""
    batch = tokenizer.backend_tokenizer.encode_batch
    questions = batch([one.question + ANSWER for one in asked], add_special_tokens=False)
    answers = batch([one.answer + END for one in asked], add_special_tokens=False)
    return [(q.ids + a.ids, len(q.ids)) for q, a in zip(questions, answers, strict=True)]


def _words(split, text: str) -> list[str]:
    return [word for word, _ in split.pre_tokenize_str(text.lower())]
