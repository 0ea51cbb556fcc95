"""The probability of a greedy answer, taken down while it is written: no second pass, and no logits kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Certainty:
    """A logits processor of transformers that changes nothing: it adds up the log-probability of the likeliest token,
    answer by answer, up to and with the token that ends it. For one call of ``generate``.
    """

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = list(ends)
        self._sums: Any = None
        self._open: Any = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """``scores``: logits of the next token, one row an answer."""
        import torch

        best, token = scores.float().max(dim=-1)
        logs = best - torch.logsumexp(scores.float(), dim=-1)
        if self._sums is None:
            self._sums, self._open = torch.zeros_like(logs), torch.ones_like(logs, dtype=torch.bool)
        self._sums += torch.where(self._open, logs, torch.zeros_like(logs))
        self._open &= ~torch.isin(token, torch.tensor(self._ends, device=token.device))
        return scores

    def told(self) -> list[float]:
        """The probability of each answer, in [0, 1]."""
        return [] if self._sums is None else [float(value) for value in self._sums.exp().clamp(0, 1)]


def certainty(end: int | Sequence[int] | None) -> Certainty:
    """One that knows the model's end tokens (``eos_token_id`` of its generation config)."""
    return Certainty([] if end is None else [end] if isinstance(end, int) else end)
