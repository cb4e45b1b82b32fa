"""The small LLaVA is trained, resumed and exported as any other checkpoint."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('cv2')

from benchmarks.real import nyu, train
from benchmarks.real.cached import cached_tokens, tower_tokens, training_views
from benchmarks.real.lessons import ThingFinder, mirrored, patches_of
from benchmarks.real.nyu import CLASSES, Asked
from benchmarks.real.small_llava import Shape, image_input, load_tower
from benchmarks.real.vocabulary import encode, tokenizer_from_json, word_tokenizer
from tosa_ros.errors import DataError, ModelError
from tosa_ros.pipeline import VqaPipeline

DOCUMENT = Path(__file__).parents[3] / 'docs' / 'real-model.md'
RECIPE = train.Recipe(
    shape=Shape(side=56, width=32, layers=2, heads=2, mlp=48),
    steps=6, batch=2, questions=4, warmup=2, try_every=3, save_every=2,
)  # fmt: skip


@pytest.fixture(scope='module')
def small(nyuv2, tower, tmp_path_factory):
    """(tower, lessons) of the little NYUv2."""
    loaded = load_tower(str(tower), RECIPE.shape.side)
    return loaded, train.lessons_of(nyuv2, loaded, tmp_path_factory.mktemp('lessons'))


def trainer(small, out, **changes):
    return train.Trainer(replace(RECIPE, **changes), *small, out)


def weights(one):
    return torch.cat([p.detach().flatten() for p in one.trained.parameters()])


def test_a_stopped_training_goes_on_as_if_it_had_not_been(small, tmp_path):
    through = trainer(small, tmp_path / 'through')
    through.out.mkdir()
    through.run(6, math.inf)
    stopped = trainer(small, tmp_path / 'stopped')
    stopped.out.mkdir()
    stopped.run(4, math.inf)
    again = trainer(small, tmp_path / 'stopped')
    assert again.resume()
    assert again.step == 4
    again.run(6, math.inf)
    assert torch.equal(weights(again), weights(through))
    assert all(torch.equal(again.average[n], v) for n, v in through.average.items())


def test_time_ends_a_training_too(small, tmp_path):
    one = trainer(small, tmp_path)
    one.run(6, 0.0)
    assert one.step == 0
    assert trainer(small, tmp_path).resume()


def test_another_size_is_refused(small, tmp_path):
    trainer(small, tmp_path).save()
    wider = replace(RECIPE.shape, width=64)
    with pytest.raises(ModelError, match='other sizes'):
        trainer(small, tmp_path, shape=wider).resume()


def test_training_lowers_the_loss(small, tmp_path):
    one = trainer(small, tmp_path, steps=200, dropout=0.0)
    before = one._one_step()
    for _ in range(50):
        after = one._one_step()
    assert after['answer'] < 0.8 * before['answer']
    assert after['label'] < before['label']


def test_the_command_makes_a_checkpoint_that_the_pipeline_asks(
    nyuv2, tower, tmp_path, monkeypatch
):
    monkeypatch.setattr(train, 'Recipe', lambda **k: replace(RECIPE, try_every=2, **k))
    train.Recipe.steps = RECIPE.steps
    monkeypatch.setattr(train.Trainer, 'accuracy', lambda self: {'all': self.step / 10})
    out = tmp_path / 'out'
    (tmp_path / 'real-model.md').write_text(DOCUMENT.read_text())
    words = ['train', '--nyuv2', nyuv2, '--tower', tower, '--out', out, '--steps', 2]
    words += ['--docs', tmp_path]
    monkeypatch.setattr(sys, 'argv', [*map(str, words)])
    assert train.main() == 0
    assert json.loads((out / 'log.jsonl').read_text().splitlines()[-1])['best'] == 0.2
    assert '| all | 20.0 |' in (tmp_path / 'real-model.md').read_text()

    pipeline = VqaPipeline.from_pretrained(out / 'checkpoint', dtype=torch.float32)
    frame = nyu.scene(nyuv2, 49).frame()
    answer = pipeline.ask(frame, 'is there a bed?')
    assert (answer.tokens_before, answer.tokens_after) == (16, 4)

    # The tower is the frozen one, at the training's size; the features' scale is folded in.
    resumed = trainer((load_tower(str(tower), 56), train.lessons_of(
        nyuv2, load_tower(str(tower), 56), out)), out)  # fmt: skip
    assert resumed.resume()
    half = pipeline.encoder.half
    pixels = pipeline.encoder.image_input.pixels(frame.rgb)[None]
    tokens = tower_tokens(half.vision_tower, pixels)
    resumed._put(resumed.average)
    inner = resumed.model.model.multi_modal_projector
    with torch.no_grad():
        wanted = inner((tokens - resumed.mean) / resumed.std)
        assert torch.allclose(half.multi_modal_projector(tokens), wanted, atol=1e-4)


def test_what_the_trainer_scores_is_what_the_pipeline_says(small, tmp_path):
    """Packed and teacher-forced as it is, the validation's accuracy is that of real answers."""
    one = trainer(small, tmp_path, dropout=0.0)
    one.run(6, math.inf)
    frame = one.lessons.validation[0]
    asked = one.lessons.questions(frame, 0, 8, np.random.default_rng(0))
    batch = one.lessons.batch([(frame, 0)], [asked], 1000)
    one.trained.eval()
    inner = one.model.model
    with torch.no_grad():
        _, _, logits, _ = one._read(batch)
        visual = inner.multi_modal_projector((batch.tokens - one.mean) / one.std)
        one.model.model.language_model.set_attn_implementation('sdpa')
        for i, single in enumerate(asked):
            ids, start = encode(one.lessons.tokenizer, [single])[0]
            words = inner.language_model.embed_tokens(torch.tensor([ids]))
            user = inner.language_model.embed_tokens(one.user)[None]
            whole = torch.cat((user, visual, words), 1)
            plain = one.model.lm_head(inner.language_model(inputs_embeds=whole).last_hidden_state)
            at = 1 + visual.shape[1] + start - 1
            assert torch.allclose(logits[0, i, 0].float(), plain[0, at], atol=0.03)


def test_what_is_named_is_shown_to_the_heads_that_look(small):
    lessons = small[1]
    there = {one.asked.question: one.asked.answer for one in lessons.made[0][0]}
    asked = [Asked('is there', q, a) for q, a in there.items() if q.startswith('is there')]
    for absent in (False, True):
        batch = lessons.batch([(0, 0)], [asked], 1000, absent)
        for q, one in enumerate(asked):
            shown = batch.shown[0, q, 0]
            if one.answer == 'yes':
                assert shown[1:].any()
                assert not shown[0]
            else:
                assert (batch.names[0, q, 0] >= 0) == absent
                assert shown.sum() == shown[0] == absent


def test_cached_tokens_go_on_and_refuse_other_shapes(nyuv2, tower, tmp_path, monkeypatch):
    loaded = load_tower(str(tower), 56)
    pixels, path = image_input(loaded).pixels, tmp_path / 'tokens.npy'
    numbers = nyu.numbers(nyuv2, 'train')[:20]
    first = np.array(cached_tokens(loaded, pixels, nyuv2, numbers, path))
    assert first.shape == (20, len(training_views(1)), 16, 24)
    path.with_suffix('.done').write_text('7')
    again = cached_tokens(loaded, pixels, nyuv2, numbers, path)
    assert np.array_equal(first, again)
    with pytest.raises(DataError, match='delete it'):
        cached_tokens(loaded, pixels, nyuv2, numbers[:5], path)


def test_words_survive_the_tokenizer():
    asked = [
        Asked('x', 'what is on the tape_dispenser, and left?', 'book, scissor, tape_dispenser')
    ]
    tokenizer = word_tokenizer(asked * 2)
    ids, start = encode(tokenizer, asked)[0]
    assert tokenizer.decode(ids[start:], skip_special_tokens=True) == asked[0].answer
    again = tokenizer_from_json(tokenizer.backend_tokenizer.to_str())
    assert encode(again, asked) == [(ids, start)]
    chat = tokenizer.apply_chat_template(
        [{'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': 'a?'}]}],
        tokenize=False, add_generation_prompt=True,
    )  # fmt: skip
    assert chat == '<|user|><image>a?<|answer|>'


def test_named_things_are_found_in_questions():
    asked = [Asked('x', 'is the floor mat left of two chairs and the tv or a book?', 'yes')]
    tokenizer = word_tokenizer([*asked * 2, Asked('x', 'television books', 'no')] * 2)
    ids, _ = encode(tokenizer, asked)[0]
    found = ThingFinder(tokenizer).find(ids)
    assert [CLASSES[thing] for _, thing in found] == ['floor mat', 'chair', 'television']
    assert tokenizer.decode([ids[place] for place, _ in found]) == 'mat chairs tv'


def test_mirrored_questions_swap_sides_alone():
    one = Asked('x', 'what is left of the leftmost chair, right of the bed?', 'the right one')
    assert mirrored(one).question == 'what is right of the leftmost chair, left of the bed?'
    assert mirrored(one).answer == 'the left one'


def test_patches_that_show_a_thing():
    cells = np.zeros((4, 4), np.uint8)
    cells[0, 3] = 7
    assert patches_of(cells, 7).tolist() == [False, True, False, False]
