"""A small sweep before a training: short trials of other settings, judged on rows kept back; the best one is trained.

Trials are as many as time allows, the settings' own values first. Each has the same few steps, so a sweep finds what
learns well early; it cannot see what a long training would forget. Imports torch inside functions.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import msgspec

from retrain.model.examples import MAX_LENGTH, Row, encode, ids_with
from retrain.model.progress import say
from retrain.train.spec import TrainingSpec, Trial

_KEPT_BACK = 10
"""One row in so many judges the trials."""
_LEAST_KEPT_BACK = 5
Train = Callable[[TrainingSpec, Sequence[Row]], Any]
"""Trains on rows; gives back the trained model."""


def options(spec: TrainingSpec) -> list[dict[str, float]]:
    """What is tried: the spec's own values first, then the others of the grid, each once."""
    own = {"lr": spec.lr, "keep_weight": spec.keep_weight}
    grid = product(spec.sweep.lr or (spec.lr,), spec.sweep.keep_weight or (spec.keep_weight,))
    others = [{"lr": lr, "keep_weight": weight} for lr, weight in grid]
    return [own, *(each for each in others if each != own)]


def parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows to try on and rows to judge by, by hash of the question; none judge where they would be too few."""
    chosen = [int(hashlib.sha256(row.prompt.encode()).hexdigest()[:8], 16) % _KEPT_BACK == 0 for row in rows]
    judging = [row for row, kept_back in zip(rows, chosen, strict=True) if kept_back]
    if len(judging) < _LEAST_KEPT_BACK:
        return list(rows), []
    return [row for row, kept_back in zip(rows, chosen, strict=True) if not kept_back], judging


def best(trials: Sequence[Trial]) -> Trial:
    """The one with the least loss on the rows kept back; of equal ones the earliest."""
    return min(trials, key=lambda trial: trial.loss)


def swept(spec: TrainingSpec, tokenizer: Any, rows: Sequence[Row], train: Train) -> tuple[TrainingSpec, list[Trial]]:
    """The spec to train by, and the trials that chose it; without trials where nothing could judge them.

    Blocks for at most ``sweep.seconds`` and the last trial begun; what is left of the time is the training's.
    """
    began = time.monotonic()
    trying, judging = parted(rows)
    left = msgspec.structs.replace(spec, sweep=type(spec.sweep)())
    if not judging:
        say({"note": f"no sweep: {len(rows)} rows leave too few to judge by"})
        return left, []
    trials: list[Trial] = []
    choices = options(spec)
    for number, choice in enumerate(choices, start=1):
        if trials and time.monotonic() - began >= spec.sweep.seconds:
            break
        say({"stage": "sweep", "trial": number, "of_trials": len(choices), **choice})
        begun = time.monotonic()
        tried = msgspec.structs.replace(
            left, **choice, steps=spec.sweep.steps, max_seconds=_left(spec, began), min_rows=1, checkpoint=""
        )
        loss = mean_loss(train(tried, trying), tokenizer, judging)
        trials.append(Trial(**choice, steps=tried.steps, loss=loss, seconds=round(time.monotonic() - begun, 2)))
    chosen = best(trials)
    used = time.monotonic() - began
    return msgspec.structs.replace(
        left, lr=chosen.lr, keep_weight=chosen.keep_weight, max_seconds=max(1.0, spec.max_seconds - used)
    ), trials


def _left(spec: TrainingSpec, began: float) -> float:
    return max(1.0, spec.sweep.seconds - (time.monotonic() - began))


def mean_loss(model: Any, tokenizer: Any, rows: Sequence[Row]) -> float:
    """Mean cross-entropy over the answers of rows."""
    import torch
    from torch.nn.functional import cross_entropy

    from retrain.train.keep import answer_logits, inner

    model.eval()
    device, total, places = next(model.parameters()).device, 0.0, 0
    for each in encode(rows, ids_with(tokenizer), MAX_LENGTH).examples:
        ids, labels = (torch.tensor([part], device=device) for part in (each.ids, each.labels()))
        with torch.inference_mode():
            logits, wanted = answer_logits(inner(model), ids, labels)
        total += float(cross_entropy(logits.float(), wanted, reduction="sum"))
        places += len(wanted)
    return round(total / max(places, 1), 5)
