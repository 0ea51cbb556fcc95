"""Full fine-tuning of a small model: rows {"prompt", "completion"}, and a whole model instead of an adapter.

The learning rate is to be a tenth of an adapter's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrain.model.examples import read_rows
from retrain.train.recipes import Prepared, sft
from retrain.train.spec import TrainingSpec


def prepare(spec: TrainingSpec, tokenizer: Any, out: Path) -> Prepared:
    """Raises TooFewRows."""
    return sft.on_rows(spec, tokenizer, out, read_rows(Path(spec.dataset)), whole=True)
