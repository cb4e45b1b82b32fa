"""The embedded model's tokenizer: byte-level BPE learned from the world's questions.

Every byte is in the alphabet, so any text survives it. Chat format as in Qwen2 and OneVision.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

IMAGE, END, START, PAD, VIDEO = '<image>', '<|im_end|>', '<|im_start|>', '<|endoftext|>', '<video>'
SPECIAL = (PAD, START, END, IMAGE, VIDEO)
VOCABULARY = 1024

# Not in every world's questions, but in what people ask: kept whole rather than spelt.
COMMON_WORDS = (  # noqa: SIM905 - a word list reads better as text
    'a an the and or not no yes in on at of to from with between behind beside above below '
    'before after first last next both neither same other another which what who where when why '
    'how did do does was were is are am be been has have had can could you I we it they there '
    'here this that these those see saw seen find found go went pass passed enter entered leave '
    'left right front back room rooms robot camera picture frame view wall floor door window '
    'kitchen bathroom bedroom office hall many much more most less least number total different '
    'big small large tall thing things object objects colour color shape size nearest farthest '
    'nearer farther closer closest until all any none one two three four five six seven eight '
    'nine ten metres meters second third order across'
).split()

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% if message['content'] is string %}{{ '\\n' + message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ '\\n' + part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocabulary` tokens; the same texts give the same tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        [*texts, *['user assistant\n'] * 100, *(f' {word}' for word in COMMON_WORDS)],
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return _wrapped(bpe)


def tokenizer_from_json(text: str) -> PreTrainedTokenizerFast:
    """The tokenizer that a training's state holds."""
    from tokenizers import Tokenizer

    return _wrapped(Tokenizer.from_str(text))


def _wrapped(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens={'image_token': IMAGE, 'video_token': VIDEO, 'start_token': START},
        chat_template=CHAT_TEMPLATE,
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )


def prompt_parts(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], str, str]:
    """What stands before the images (ids), before a question, and between it and its answer."""
    return (
        tokenizer.encode(f'{START}user ', add_special_tokens=False),
        '\n',
        (f'{END}{START}assistant\n'),
    )


def encode_questions(
    tokenizer: PreTrainedTokenizerFast, questions: list[tuple[str, str]]
) -> list[tuple[list[int], int]]:
    """Token ids of each (question, answer) as it follows the images, and its answer's start."""
    _, before, between = prompt_parts(tokenizer)
    if not questions:
        return []
    encode = tokenizer.backend_tokenizer.encode_batch
    asked = encode([before + text + between for text, _ in questions], add_special_tokens=False)
    answered = encode([answer + END for _, answer in questions], add_special_tokens=False)
    return [(a.ids + b.ids, len(a.ids)) for a, b in zip(asked, answered, strict=True)]
