"""Many questions behind one copy of the image tokens: the attention for it, loss and accuracy.

A row is prefix (chat opening, image tokens) and Q questions of L tokens each. Every question
sees the prefix and itself, and its positions restart after the prefix, so its logits are those
of the question asked alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tosa_ros.training.grounding import HEADS, LAYER

IGNORE = -100
FULL, PACKED = 'tosa_full', 'tosa_packed'


def _attend(q: Tensor, k: Tensor, v: Tensor, scaling: float, causal: bool) -> Tensor:
    scores = (q @ k.transpose(-1, -2)).float() * scaling
    if causal:
        length = q.shape[-2]
        above = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(above, float('-inf'))
    return scores.softmax(-1).to(v.dtype) @ v


def full_attention(module, query, key, value, attention_mask, scaling=None, **_):
    """Unmasked attention as plain products: compiled, its backward beats SDPA's on a CPU."""
    return _attend(query, key, value, scaling, causal=False).transpose(1, 2).contiguous(), None


def packed_attention(
    module,
    query,
    key,
    value,
    attention_mask,
    scaling=None,
    questions=1,
    length=0,
    looked=None,
    **_,
):
    """Causal attention over prefix + questions * length tokens, (B, heads, S, head_dim) each.

    The questions' scores to prefix and to themselves share one softmax; nothing of the size S x S
    is made. The list `looked` is given the weights (B, HEADS, Q, L, P) of the grounded heads.
    """
    B, H, S, D = query.shape
    P = S - questions * length
    head = _attend(query[:, :, :P], key[:, :, :P], value[:, :, :P], scaling, causal=True)

    def own(x: Tensor) -> Tensor:
        return x[:, :, P:].reshape(B, H, questions, length, D)

    q, k, v = own(query), own(key), own(value)
    above = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    to_prefix = query[:, :, P:] @ key[:, :, :P].transpose(-1, -2)
    to_own = (q @ k.transpose(-1, -2)).masked_fill(above, float('-inf'))
    scores = torch.cat((to_prefix.view(B, H, questions, length, P), to_own), -1)
    weights = (scores.float() * scaling).softmax(-1).to(v.dtype)
    if looked is not None and module.layer_idx == LAYER:
        looked.append(weights[:, :HEADS, ..., :P])
    tail = weights[..., :P].reshape(B, H, questions * length, P) @ value[:, :, :P]
    tail = tail + (weights[..., P:] @ v).view(B, H, questions * length, D)
    return torch.cat((head, tail), 2).transpose(1, 2).contiguous(), None


def use_training_attention(model: nn.Module) -> None:
    """Sets the attention of a LLaVA-OneVision model's halves to the two above."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(FULL, full_attention)
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(FULL, sdpa_mask)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    model.model.vision_tower.set_attn_implementation(FULL)
    model.model.language_model.set_attn_implementation(PACKED)


def tower_tokens(model: nn.Module, pixels: Tensor) -> Tensor:
    """(N, tokens, D): the tower's hidden_states[-1], before post_layernorm, as OneVision reads."""
    tower = model.model.vision_tower
    return tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state


def prefix_embeddings(model: nn.Module, opening: Tensor, tower: Tensor, frames: int) -> Tensor:
    """(B, P, D): chat opening, then for each frame its tokens and the newline embedding."""
    inner = model.model
    visual = inner.multi_modal_projector(tower)
    newline = inner.image_newline.to(visual.dtype).expand(visual.shape[0], 1, -1)
    visual = torch.cat((visual, newline), 1)
    visual = visual.reshape(visual.shape[0] // frames, -1, visual.shape[-1])
    start = inner.language_model.embed_tokens(opening).to(visual.dtype)
    return torch.cat((start.expand(visual.shape[0], -1, -1), visual), 1)


def packed_hidden(
    model: nn.Module, prefix: Tensor, questions: Tensor, looked: list[Tensor] | None = None
) -> Tensor:
    """The language model's last hidden states (B, Q, L, D) of packed questions.

    Args:
        prefix: (B, P, D) embeddings. questions: (B, Q, L) token ids.
        looked: is given the attention weights that grounding is about.
    """
    B, Q, L = questions.shape
    P = prefix.shape[1]
    language = model.model.language_model
    asked = language.embed_tokens(questions).to(prefix.dtype).view(B, Q * L, -1)
    positions = torch.arange(P + L, device=questions.device)
    positions = torch.cat((positions[:P], positions[P:].repeat(Q)))[None]
    return (
        language(
            inputs_embeds=torch.cat((prefix, asked), 1),
            position_ids=positions,
            attention_mask={'full_attention': None},
            use_cache=False,
            questions=Q,
            length=L,
            looked=looked,
        )
        .last_hidden_state[:, P:]
        .view(B, Q, L, -1)
    )


def at_positions(hidden: Tensor, positions: Tensor) -> Tensor:
    """(B, Q, L, D), (B, Q, N) -> (B, Q, N, D); positions outside 0..L-1 are brought inside."""
    rows = positions.clamp(0, hidden.shape[2] - 1)[..., None]
    return hidden.gather(2, rows.expand(*rows.shape[:3], hidden.shape[-1]))


def answer_logits(model: nn.Module, hidden: Tensor, answers: Tensor) -> Tensor:
    """(B, Q, A, vocabulary), which predict the answers' tokens.

    Args:
        hidden: (B, Q, L, D). answers: (B, Q, A) positions of the answers' tokens within L (what is
            beyond an answer is ignored later).
    """
    return model.lm_head(at_positions(hidden, answers - 1))


def answer_targets(questions: Tensor, answers: Tensor, lengths: Tensor) -> Tensor:
    """(B, Q, A) target ids of the answer positions, IGNORE past each sequence's length (B, Q)."""
    targets = questions.gather(2, answers.clamp(max=questions.shape[2] - 1))
    return targets.masked_fill(answers >= lengths[..., None], IGNORE)


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of the answers' tokens."""
    return F.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), ignore_index=IGNORE)


def exactly_right(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, Q) bool: every token is the likeliest one, which is when greedy decoding gives it."""
    return ((logits.argmax(-1) == targets) | (targets == IGNORE)).all(-1)
