"""Distillation by answers (sequence-level: Kim and Rush 2016): a LoRA adapter learns what a larger model answers.

Rows {"prompt", "completion"}; an empty completion is answered by the teacher, a given one is the truth and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from retrain.model.answers import Answerer
from retrain.model.examples import Row, read_rows
from retrain.model.progress import say
from retrain.train.recipes import Prepared, sft
from retrain.train.rows import Untrainable
from retrain.train.spec import TrainingSpec


def prepare(spec: TrainingSpec, tokenizer: Any, out: Path) -> Prepared:
    """Blocks while the teacher answers. Raises Untrainable where there is no teacher, or nothing to ask it."""
    rows = read_rows(Path(spec.dataset))
    asked = [row.prompt for row in rows if not row.completion.strip()]
    if not asked:
        raise Untrainable(
            "recipe distill: every row has a label already, so there is nothing to ask a teacher; use recipe sft"
        )
    say({"stage": "asking the teacher", "of": len(asked)})
    answers = _teacher(spec).answers(asked)
    return sft.on_rows(spec, tokenizer, out, taught(rows, answers), whole=False)


def taught(rows: Sequence[Row], answers: Sequence[str]) -> list[Row]:
    """The rows, those without a completion with the teacher's, in order."""
    left = iter(answers)
    return [row if row.completion.strip() else msgspec.structs.replace(row, completion=next(left)) for row in rows]


def _teacher(spec: TrainingSpec) -> Answerer:
    if spec.teacher:
        folder = Path(spec.teacher)
        if not (folder / "config.json").is_file():
            raise Untrainable(f"recipe distill: {folder} is no model folder; set retrain.recipe.teacher to one")
        return Answerer(folder, None, spec.threads)
    return Answerer(Path(spec.base), Path(spec.champion) if spec.champion else None, spec.threads)
