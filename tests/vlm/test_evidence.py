"""Evidence: the weights are the model's own attention, and they point at what is asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from benchmarks.evidence import pointing
from tosa_ros import NoMerging, ToMe, ToSA, VqaPipeline
from tosa_ros.assets import embedded_model
from tosa_ros.errors import ModelError
from tosa_ros.synthetic import single
from tosa_ros.vlm import FAMILIES, Answerer, VisionEncoder
from tosa_ros.vlm.untrained import write_checkpoint

QUESTION, OTHER = 'How many mugs are on the desk?', 'Which chair is nearer to the door?'


@pytest.fixture(scope='module', params=FAMILIES)
def path(request, tmp_path_factory):
    return write_checkpoint(
        tmp_path_factory.mktemp('family') / 'model', family=request.param, seed=3
    )


@pytest.fixture(scope='module')
def answerer(path):
    return Answerer.from_pretrained(path, dtype=torch.float32)


@pytest.fixture
def tokens(path, make_frame):
    encoder = VisionEncoder.from_pretrained(path, merging=ToMe(keep=0.5), dtype=torch.float32)
    return encoder.encode([make_frame(0), make_frame(1)])


def own_attention(path, tokens, question):
    """What transformers itself returns as attention: heads' and layers' mean of the last row."""
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    answerer.model.set_attn_implementation('eager')
    rows = answerer.builder.rows(tokens, question)
    kept = []
    for layer in answerer.model.get_decoder().layers:
        layer.self_attn.register_forward_hook(lambda module, args, out: kept.append(out[1]))
    with torch.inference_mode():
        answerer.family.read(
            answerer.model,
            rows.positions[None],
            rows.images[None],
            inputs_embeds=rows.embeds[None],
            attention_mask=None,
            past_key_values=DynamicCache(config=answerer.model.config),
        )
    return rows, torch.stack(kept).mean(dim=(0, 2))[0, -1]


def returned(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def assert_same(evidence, expected):
    assert evidence.share == pytest.approx(expected.share, abs=1e-5)
    for one, other in zip(evidence.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_weights_are_the_models_own_attention(path, answerer, tokens):
    rows, attention = own_attention(path, tokens, QUESTION)
    evidence = answerer.answer(tokens, QUESTION, max_new_tokens=2, evidence=True).evidence
    seen = [
        (float(attention[row]), image.embeddings[token])
        for image, numbers in rows.token_rows
        for token, row in enumerate(numbers)
        if torch.equal(rows.embeds[row], image.embeddings[token])
    ]
    assert len(seen) == sum(map(len, tokens))  # each row is that of its token
    own = np.array([weight for weight, _ in seen])
    assert evidence.share == pytest.approx(own.sum(), abs=1e-5)
    assert 0 < evidence.share < 1
    np.testing.assert_allclose(np.concatenate(evidence.weights), own / own.sum(), atol=1e-5)
    assert [len(one) for one in evidence.weights] == [len(one) for one in tokens]


def test_it_is_the_same_in_a_batch_behind_a_known_prefix_and_streamed(answerer, tokens):
    alone = answerer.answer(tokens, QUESTION, max_new_tokens=2, evidence=True)
    again = answerer.answer(tokens, QUESTION, max_new_tokens=2, evidence=True)
    assert_same(again.evidence, alone.evidence)
    requests = [(tokens, QUESTION), (tokens[:1], OTHER), (tokens, OTHER)]
    batch = answerer.answer_batch(requests, max_new_tokens=2, evidence=True)
    assert_same(batch[0].evidence, alone.evidence)
    assert len(batch[1].evidence.weights) == 1
    shared = answerer.answer_batch(requests[::2], max_new_tokens=2, evidence=True)
    assert_same(shared[0].evidence, alone.evidence)
    assert_same(shared[1].evidence, batch[2].evidence)
    stream = answerer.stream(tokens, QUESTION, max_new_tokens=2, evidence=True)
    assert_same(returned(stream).evidence, alone.evidence)


def test_it_changes_no_word_and_is_off_unless_asked_for(answerer, tokens):
    plain = answerer.answer(tokens, QUESTION, max_new_tokens=8)
    watched = answerer.answer(tokens, QUESTION, max_new_tokens=8, evidence=True)
    assert plain.evidence is None
    assert watched.text == plain.text


@pytest.fixture(scope='module')
def embedded():
    return VqaPipeline.from_pretrained(embedded_model(), dtype=torch.float32)


def test_layers_that_cannot_be_seen_are_an_error(embedded, monkeypatch):
    frame = single('val', 0, questions=1).frame
    attention = embedded.answerer.model.model.layers[1].self_attn
    monkeypatch.setattr(attention, 'forward', lambda hidden_states, **_: (hidden_states, None))
    with pytest.raises(ModelError, match='evidence: the attention of 3 of 4 layers can be seen'):
        embedded.ask(frame, 'is there a red ball?', evidence=True)


@pytest.mark.parametrize('method', [NoMerging(), ToSA(keep=0.25)], ids=['unmerged', 'merged'])
def test_it_lies_on_the_thing_that_is_asked_about(embedded, method):
    """Over views of the tiny world: the mass on the thing against the share of its area."""
    samples = [single('val', number, questions=12) for number in range(8)]
    found = list(pointing(embedded, method, samples))
    assert len(found) > 30
    assert np.mean([one.mass for one in found]) > 5 * np.mean([one.area for one in found])
    assert np.mean([one.hit for one in found]) > 0.7


def test_eager_attention_is_seen_as_the_fused_one_is(embedded):
    frame = single('val', 0, questions=1).frame
    fused, eager = (ask_with(embedded, frame, name) for name in ('sdpa', 'eager'))
    assert_same(eager, fused)


def ask_with(pipeline, frame, attention):
    pipeline.answerer.model.set_attn_implementation(attention)
    answer = pipeline.ask(frame, 'is there a red ball?', evidence=True)
    pipeline.answerer.model.set_attn_implementation('sdpa')
    return answer.evidence


def test_the_top_tokens_say_where_they_are(embedded):
    embedded.merging = ToSA(keep=0.25)
    frames = [single('val', number, questions=1).frame for number in (0, 1)]
    answer = embedded.ask(
        [frames[0], replace(frames[1], depth_m=None)], 'is there a red ball?', evidence=True
    )
    evidence = answer.evidence
    top = evidence.top(1000)
    assert len(top) == sum(map(len, evidence.tokens))
    assert [one.weight for one in top] == sorted((one.weight for one in top), reverse=True)
    for one in top:
        tokens = evidence.tokens[one.frame]
        assert one.weight == evidence.weights[one.frame][one.token]
        assert one.uv == tuple(tokens.uv[one.token].tolist())
        assert np.isnan(one.xyz).all() == (one.frame == 1) or np.isnan(one.xyz).any()
    assert {one.frame for one in top} == {0, 1}
    plain = answer.to_dict()['evidence']
    assert plain['top'][0] == vars(top[0])
    assert 'evidence' not in embedded.ask(frames, 'is there a red ball?').to_dict()
