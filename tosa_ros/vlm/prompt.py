"""Prompts: a question about n images as token ids with a placeholder for each image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tosa_ros.chat_templates import ChatTemplate
from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.files import read_text
from tosa_ros.loading import one_line_errors
from tosa_ros.vlm.checkpoint import Checkpoint

MAX_QUESTION_CHARACTERS = 4000
# A token a character is more than any real tokenizer makes of words, but not of emoji.
MAX_PROMPT_TOKENS = 4096


class Prompt:
    """The tokenizer and chat template of one checkpoint.

    write: what is made of the template's text before it becomes tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        image_token_id: int,
        write: Callable[[str], str] = str,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self._chat = ChatTemplate(template, tokenizer.special_tokens_map)
        self.image_token_id = image_token_id
        self._write = write

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Prompt:
        with checkpoint.loading_errors():
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.path, revision=checkpoint.weights.revision, trust_remote_code=False
            )
            template = _template(checkpoint, tokenizer)
        family = checkpoint.family
        return cls(tokenizer, template or family.template, family.image_token_id, family.write)

    def ids(
        self,
        question: str,
        images: int,
        write: Callable[[str], str] | None = None,
        placeholders: int | None = None,
        *,
        system: str = '',
        history: Sequence[tuple[str, str]] = (),
    ) -> list[int]:
        """Token ids of the prompt; each image is one placeholder id.

        write, placeholders: where images are written otherwise than one like the other, how, and
        the number of placeholders that this gives.
        system: instructions before all. history: earlier questions, and what was answered.
        Raises QuestionError for a question that is empty, too long or holds special tokens.
        """
        check_question(question)
        self._check_special('question', question)
        self._check_special('system', system)
        for turn in history:
            self._check_special('history', ' '.join(turn))
        talk = self._chat.write(
            question.strip(),
            images,
            system=system.strip(),
            history=[(asked.strip(), said.strip()) for asked, said in history],
        )
        text = (write or self._write)(talk)
        # As transformers' processors do: some templates write the first token themselves.
        first = self.tokenizer.bos_token
        begun = first is not None and first in text
        with one_line_errors('tokenizer', ModelError):
            ids = self.tokenizer(text, add_special_tokens=not begun)['input_ids']
        if len(ids) > MAX_PROMPT_TOKENS:
            raise QuestionError(
                f'question: {len(ids):,} tokens with {"earlier turns and " if history else ""}'
                f'what the chat template adds; at most {MAX_PROMPT_TOKENS:,} are read'
            )
        found = ids.count(self.image_token_id)
        wanted = images if placeholders is None else placeholders
        if found != wanted:
            raise ModelError(
                f'chat template: {found} image placeholders for {wanted} images; the '
                "checkpoint's chat template and tokenizer do not fit its image_token_id"
            )
        return ids

    def prepare(self, images: int, system: str) -> None:
        """Begins to make the prompts of a talk, so that its second question need not wait."""
        self._chat.prepare(images, bool(system.strip()))

    def _check_special(self, what: str, text: str) -> None:
        special = next((t for t in self.tokenizer.all_special_tokens if t in text), None)
        if special is not None:
            raise QuestionError(
                f"{what}: it contains {special!r}, one of the model's special tokens; take it out"
            )

    def text_of(self, ids: list[int]) -> str:
        """The words of token ids, without special tokens."""
        with one_line_errors('tokenizer', ModelError):
            return self.tokenizer.decode(ids, skip_special_tokens=True)


def check_question(question: str) -> None:
    """Raises QuestionError unless the question is text of a sane length."""
    if not isinstance(question, str) or not question.strip():
        raise QuestionError(f'question: {question!r}; wanted text')
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise QuestionError(
            f'question: {len(question):,} characters; at most {MAX_QUESTION_CHARACTERS:,} are read'
        )
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise QuestionError(
            f'question: character {error.start + 1} is {question[error.start]!a}, half of '
            'a character; wanted text in UTF-8'
        ) from error


def _template(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The first template that knows of images, or the first at all.

    One of the tokenizer's may be that of the language model alone.
    """
    templates = [*_template_files(checkpoint)]
    if isinstance(tokenizer.chat_template, str):
        templates.append(tokenizer.chat_template)
    return next((t for t in templates if 'image' in t), templates[0] if templates else None)


def _template_files(checkpoint: Checkpoint) -> Iterator[str]:
    for name in ('chat_template.jinja', 'chat_template.json', 'processor_config.json'):
        file = checkpoint.file(name)
        if file is None:
            continue
        text = read_text(Path(file), ModelError)
        if name.endswith('.jinja'):
            yield text
            continue
        config = json.loads(text)
        template = config.get('chat_template') if isinstance(config, dict) else None
        if isinstance(template, list):
            template = {one.get('name'): one.get('template') for one in template}
        if isinstance(template, dict):
            template = template.get('default')
        if isinstance(template, str):
            yield template
