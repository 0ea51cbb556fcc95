"""Kahneman-Tversky optimization (Ethayarajh et al. 2024) from thumbs: rows {"prompt", "completion", "liked"}.

TRL's KTOTrainer, going on from the champion's adapter, which is the
reference, too. Likes and dislikes weigh the same together, however many there are of each.
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from retrain.model.chat import rendered_answer, rendered_prompt
from retrain.model.examples import MAX_LENGTH, Judged, fits, ids_with, rows_as
from retrain.model.progress import Progress
from retrain.train.recipes import Prepared
from retrain.train.rows import TooFewRows, Untrainable
from retrain.train.spec import TrainingSpec
from retrain.train.trainer import Paced, arguments, as_champion, base_model

LEAST_BATCH = 4
"""What a batch needs for an estimate of how far the candidate has moved."""


def prepare(spec: TrainingSpec, tokenizer: Any, out: Path) -> Prepared:
    """Raises Untrainable."""
    given = rows_as(Path(spec.dataset), Judged)
    texts = [(rendered_prompt(row.prompt), rendered_answer(row.completion)) for row in given]
    judged = [(*text, row.liked) for text, row in zip(texts, given, strict=True)]
    rows = list(compress(judged, fits(texts, ids_with(tokenizer), MAX_LENGTH)))
    Random(spec.seed).shuffle(rows)
    liked = sum(good for _, _, good in rows)
    if len(rows) < max(spec.min_rows, LEAST_BATCH):
        raise TooFewRows(
            f"recipe kto: {len(rows)} answers with a thumb, at least {max(spec.min_rows, LEAST_BATCH)} are needed; "
            "collect thumbs, or use recipe sft"
        )
    up, down = weights(liked, len(rows) - liked)
    names = ("prompt", "completion", "label")
    trainer = KtoTrainer(
        spec=spec,
        progress=Progress(spec.steps),
        model=as_champion(base_model(spec), spec),
        args=KTOConfig(
            **arguments(spec, out) | {"per_device_train_batch_size": max(LEAST_BATCH, spec.batch)},
            beta=spec.beta,
            desirable_weight=up,
            undesirable_weight=down,
        ),
        train_dataset=Dataset.from_dict(
            {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
        ),
        processing_class=tokenizer,
    )
    return Prepared(trainer, len(rows), len(texts) - len(rows))


def weights(liked: int, disliked: int) -> tuple[float, float]:
    """Weight of a like and of a dislike, the rarer one's above 1, so that both kinds weigh the same together.

    Raises Untrainable where one kind is missing.
    """
    if not liked or not disliked:
        missing = "down" if liked else "up"
        raise Untrainable(
            f"recipe kto: none of {liked + disliked} thumbs is {missing}, and it needs both; use recipe sft"
        )
    return max(1.0, disliked / liked), max(1.0, liked / disliked)


class KtoTrainer(Paced, KTOTrainer):
    """KTOTrainer at our pace."""
