"""Direct preference optimization (Rafailov et al. 2023) from pairs: rows {"prompt", "completion", "rejected"}.

TRL's DPOTrainer, going on from the champion's adapter, which is the reference, too. The usual loss on the chosen answer
stands beside it (Pang et al. 2024): a correction is often an answer that the champion would hardly give, and
preference alone does not teach it.
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from retrain.model.chat import rendered_answer, rendered_prompt
from retrain.model.examples import MAX_LENGTH, Pair, fits, ids_with, rows_as
from retrain.model.progress import Progress
from retrain.train.recipes import Prepared
from retrain.train.rows import TooFewRows
from retrain.train.spec import TrainingSpec
from retrain.train.trainer import Paced, arguments, as_champion, base_model


def prepare(spec: TrainingSpec, tokenizer: Any, out: Path) -> Prepared:
    """Raises Untrainable."""
    given = rows_as(Path(spec.dataset), Pair)
    telling = [row for row in given if row.completion.strip() not in ("", row.rejected.strip())]
    said = [(rendered_prompt(r.prompt), rendered_answer(r.completion), rendered_answer(r.rejected)) for r in telling]
    texts = list(compress(said, fits(said, ids_with(tokenizer), MAX_LENGTH)))
    if len(texts) < spec.min_rows:
        raise TooFewRows(
            f"recipe dpo: {len(texts)} pairs of a correction and the answer it corrects, at least {spec.min_rows} are "
            f"needed ({len(given) - len(telling)} say the same twice, {len(telling) - len(texts)} are too long); "
            "collect corrections of wrong answers, or use recipe sft"
        )
    names = ("prompt", "chosen", "rejected")
    rows = Dataset.from_dict({name: list(column) for name, column in zip(names, zip(*texts, strict=True), strict=True)})
    trainer = DpoTrainer(
        spec=spec,
        progress=Progress(spec.steps),
        model=as_champion(base_model(spec), spec),
        args=DPOConfig(**arguments(spec, out), beta=spec.beta, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 1.0]),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    return Prepared(trainer, len(texts), len(telling) - len(texts), len(given) - len(telling))


class DpoTrainer(Paced, DPOTrainer):
    """DPOTrainer at our pace."""
