from __future__ import annotations

import torch

from tosa_ros.training.model import build_model
from tosa_ros.training.packing import (
    IGNORE,
    answer_logits,
    answer_targets,
    exactly_right,
    packed_hidden,
    prefix_embeddings,
    tower_tokens,
    use_training_attention,
)
from tosa_ros.training.tokenizer import encode_questions, train_tokenizer

QUESTIONS = [
    ('how many chairs?', '2'),
    ('is the red box small or large?', 'large'),
    ('why?', 'no'),
]


def _model(shape, tokenizer):
    torch.manual_seed(3)
    model = build_model(shape, tokenizer).eval()
    for parameter in model.parameters():  # attention of fresh weights is all but uniform
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_packed_logits_equal_those_of_each_question_alone(recipe):
    tokenizer = train_tokenizer(text for pair in QUESTIONS for text in pair)
    model = _model(recipe.shape, tokenizer)
    encoded = encode_questions(tokenizer, QUESTIONS)
    length = max(len(ids) for ids, _ in encoded)
    ids = torch.zeros(1, 3, length, dtype=torch.long)
    for row, (tokens, _) in zip(ids[0], encoded, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    answers = torch.tensor([[[start, start + 1] for _, start in encoded]])
    views, opening = torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([1, 7, 9])
    with torch.no_grad():
        tower = model.model.vision_tower(views, output_hidden_states=True).hidden_states[-1]
        features = model.model.multi_modal_projector(tower)
        embed = model.get_input_embeddings()
        newline = model.model.image_newline[None]
        frames = [torch.cat((f, newline)) for f in features]
        alone = []
        for tokens, start in encoded:
            sequence = torch.cat((embed(opening), *frames, embed(torch.tensor(tokens))))
            hidden = model.model.language_model(inputs_embeds=sequence[None]).last_hidden_state
            logits = model.lm_head(hidden)[0, -len(tokens) :]
            alone.append(logits[start - 1 : start + 1])
        use_training_attention(model)
        prefix = prefix_embeddings(model, opening, tower_tokens(model, views), frames=2)
        packed = answer_logits(model, packed_hidden(model, prefix, ids), answers)[0]
    assert prefix.shape[1] == 3 + 2 * 257
    assert torch.stack(alone).std() > 0.1
    torch.testing.assert_close(packed, torch.stack(alone), atol=2e-4, rtol=1e-4)


def test_targets_stop_where_the_answer_does():
    questions = torch.tensor([[[5, 6, 7, 2, 0, 0]]])
    targets = answer_targets(questions, torch.tensor([[[2, 3, 4]]]), torch.tensor([[4]]))
    assert targets.tolist() == [[[7, 2, IGNORE]]]


def test_right_only_when_every_token_is():
    targets = torch.tensor([[[1, 2, IGNORE], [1, 2, IGNORE]]])
    logits = torch.zeros(1, 2, 3, 4)
    logits[0, :, 0, 1] = 1
    logits[0, 0, 1, 2] = 1
    logits[0, 1, 1, 3] = 1
    assert exactly_right(logits, targets).tolist() == [[True, False]]
