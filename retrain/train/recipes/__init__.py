"""Recipes: how rows and a base become a candidate. One a file, each with a function ``prepare``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from retrain.train.spec import TrainingSpec, Trial


class Prepared(NamedTuple):
    """A trainer ready to train (`retrain.train.trainer.Paced`), and what it was given: rows, rows that were left out,
    how many of the rows the champion answers rightly (None: not asked), and the trials of a sweep."""

    trainer: Any
    rows: int
    too_long: int = 0
    empty: int = 0
    known_rows: int | None = None
    trials: tuple[Trial, ...] = ()


def prepared(spec: TrainingSpec, tokenizer: Any, out: Path) -> Prepared:
    """The training that ``spec.kind`` names. Blocks while models load. Raises Untrainable."""
    made: Prepared = import_module(f"retrain.train.recipes.{spec.kind}").prepare(spec, tokenizer, out)
    return made
