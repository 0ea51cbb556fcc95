"""What a training is held to: the champion's own word shares, on the rows that the champion still answers rightly.

The loss beside the usual one is the divergence of the candidate from them (distillation against forgetting: Li and
Hoiem 2016, "Learning without Forgetting"). Imports torch at the top: only for the training process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import log_softmax

from retrain.model.batches import epoch_by_length, padded
from retrain.model.examples import IGNORED, Example

SHARES = 64
"""Tokens whose share is kept at each place; the others are one more share together."""
_BATCH = 64
_LEAST = 1e-6


class Shares(NamedTuple):
    """For places of answers: the likeliest tokens (places, k), the logarithms of their shares and of all others'
    together (places, k + 1), and whether the place's whole answer was right (places,)."""

    tokens: torch.Tensor
    logs: torch.Tensor
    right: torch.Tensor


class Known:
    """The shares of every row's answer, by the row's number."""

    def __init__(self, rows: Sequence[Shares]) -> None:
        self._rows = rows

    @property
    def right(self) -> int:
        """Rows that were answered rightly, each token of them."""
        return sum(bool(row.right.all()) for row in self._rows)

    def of(self, rows: Sequence[int]) -> Shares:
        """Those rows' places, one after the other."""
        return Shares(*(torch.cat(parts) for parts in zip(*(self._rows[row] for row in rows), strict=True)))


def answer_logits(model: Any, ids: torch.Tensor, labels: torch.Tensor, **told: torch.Tensor) -> Any:
    """Scores of the vocabulary (places, vocabulary) where ``labels`` are answers, row after row, and those labels.

    ``told`` is the attention mask or, of packed rows, the positions.
    Only these places reach the vocabulary layer, which is half of a step otherwise.
    """
    wanted = labels[:, 1:]
    counted = wanted != IGNORED
    hidden = model.model(input_ids=ids, use_cache=False, **told).last_hidden_state[:, :-1]
    return model.lm_head(hidden[counted]), wanted[counted]


def inner(model: Any) -> Any:
    """The model itself, of one with an adapter the model beneath it (whose layers hold the adapter)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def divergence(logits: torch.Tensor, known: Shares) -> torch.Tensor:
    """Mean divergence (Kullback-Leibler, nats) of ``logits`` (places, vocabulary) from the known shares, over the
    places that were answered rightly; 0 where none was."""
    if not bool(known.right.any()):
        return logits.new_zeros(())
    shares = log_softmax(logits[known.right].float(), dim=-1)
    named = shares.gather(-1, known.tokens[known.right])
    now = torch.cat([named, _others(named)], dim=-1)
    was = known.logs[known.right]
    return (was.exp() * (was - now)).sum(-1).mean()


def shares_of(logits: torch.Tensor, labels: torch.Tensor) -> Shares:
    """The shares in one answer's ``logits`` (places, vocabulary), and whether it is what ``labels`` (places,) say."""
    top = log_softmax(logits.float(), dim=-1).topk(min(SHARES, logits.shape[-1]))
    right = (logits.argmax(-1) == labels).all().expand(len(labels))
    return Shares(top.indices, torch.cat([top.values, _others(top.values)], dim=-1), right)


def known_by(model: Any, examples: Sequence[Example], pad: int) -> Known:
    """What ``model`` (in eval mode) says at each place of each example's answer. Blocks for one pass over them."""
    found: list[Shares | None] = [None] * len(examples)
    device = next(model.parameters()).device
    for chosen in epoch_by_length([len(each.ids) for each in examples], _BATCH):
        rows = [examples[index] for index in chosen]
        ids = torch.tensor(padded([row.ids for row in rows], pad), device=device)
        filled = torch.tensor(padded([[1] * len(row.ids) for row in rows], 0), device=device)
        labels = torch.tensor(padded([row.labels() for row in rows], IGNORED), device=device)
        with torch.inference_mode():
            logits, wanted = answer_logits(model, ids, labels, attention_mask=filled)
            lengths = [len(row.ids) - row.prompt_length for row in rows]
            parts = zip(chosen, logits.split(lengths), wanted.split(lengths), strict=True)
            for index, row_logits, row_labels in parts:
                found[index] = Shares(*(each.clone() for each in shares_of(row_logits, row_labels)))
    return Known([row for row in found if row is not None])


def _others(logs: torch.Tensor) -> torch.Tensor:
    """Logarithm of what ``logs`` (places, k) leave of 1, (places, 1)."""
    return (1 - logs.exp().sum(-1, keepdim=True)).clamp_min(_LEAST).log()
