"""Holding a training to what its champion knew: shares, the divergence from them, and which rows count."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import log_softmax

from retrain.train.keep import Known, Shares, divergence, shares_of


def logits(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def test_nothing_is_lost_by_who_says_the_same() -> None:
    said = logits([2.0, 0.0, -1.0], [0.0, 3.0, 0.5])
    known = shares_of(said, torch.tensor([0, 1]))
    assert known.right.tolist() == [True, True]
    assert divergence(said, known).item() == pytest.approx(0.0, abs=1e-5)


def test_the_divergence_is_kullback_and_leiblers() -> None:
    was, now = torch.randn(5, 100, generator=torch.Generator().manual_seed(1)), torch.zeros(5, 100)
    whole = (log_softmax(was, -1).exp() * (log_softmax(was, -1) - log_softmax(now, -1))).sum(-1).mean()
    known = shares_of(was, was.argmax(-1))
    assert known.tokens.shape == (5, 64)
    assert known.logs.exp().sum(-1).tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    assert 0.9 * whole.item() < divergence(now, known).item() <= whole.item()  # the rarest tokens are told together


def test_what_the_champion_answers_wrongly_is_not_kept() -> None:
    said, learnt = logits([2.0, 0.0], [2.0, 0.0]), logits([-9.0, 9.0], [2.0, 0.0])
    known = shares_of(said, torch.tensor([0, 1]))  # one wrong token makes the answer wrong
    assert known.right.tolist() == [False, False]
    assert divergence(learnt, known).item() == 0.0


def test_only_right_rows_of_a_batch_pull_and_each_by_its_own_shares() -> None:
    first = shares_of(logits([5.0, 0.0, 0.0]), torch.tensor([0]))
    second = shares_of(logits([0.0, 5.0, 0.0], [0.0, 0.0, 5.0]), torch.tensor([1, 2]))
    wrong = shares_of(logits([0.0, 5.0, 0.0]), torch.tensor([2]))
    known = Known([first, wrong, second])
    assert known.right == 2
    batch = known.of([2, 1])
    assert batch.right.tolist() == [True, True, False]
    candidate = logits([0.0, 5.0, 0.0], [0.0, 0.0, 5.0], [5.0, 0.0, 0.0]).requires_grad_()
    loss = divergence(candidate, batch)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert candidate.grad is not None
    assert candidate.grad[2].tolist() == [0.0, 0.0, 0.0]


def test_a_candidate_that_moves_away_pays_more_the_farther_it_goes() -> None:
    known: Shares = shares_of(logits([4.0, 0.0]), torch.tensor([0]))
    costs = [divergence(logits([4.0 - moved, 0.0]), known).item() for moved in (0.0, 1.0, 2.0, 6.0)]
    assert costs == sorted(costs)
    assert costs[-1] > 1.0
