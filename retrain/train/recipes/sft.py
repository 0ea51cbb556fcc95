"""Supervised fine-tuning of a LoRA adapter: rows {"prompt", "completion"}.

TRL's SFTTrainer with what a small model on few cores needs: batches of like length, or packed ones, and only answers
reach the vocabulary layer. With `keep_weight` it is held to what the champion knew (`retrain.train.keep`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Sampler
from trl import SFTConfig, SFTTrainer

from retrain.model.answers import loaded
from retrain.model.batches import batches, bins, padded
from retrain.model.examples import IGNORED, MAX_LENGTH, Example, Row, encode, ids_with, read_rows
from retrain.model.progress import Progress, say
from retrain.train.keep import Known, answer_logits, divergence, inner, known_by
from retrain.train.recipes import Prepared
from retrain.train.rows import checked
from retrain.train.spec import TrainingSpec, Trial
from retrain.train.sweep import swept
from retrain.train.trainer import Paced, arguments, base_model, begun


def prepare(spec: TrainingSpec, tokenizer: Any, out: Path) -> Prepared:
    """Raises TooFewRows."""
    return on_rows(spec, tokenizer, out, read_rows(Path(spec.dataset)), whole=False)


def on_rows(
    spec: TrainingSpec, tokenizer: Any, out: Path, rows: Sequence[Row], *, whole: bool, said: Progress | None = None
) -> Prepared:
    """The training on these rows: of a LoRA adapter, or of the whole model; after a sweep, if one is asked for.

    ``said`` takes the progress (None: stdout). Raises TooFewRows.
    """
    checked(encode(rows, ids_with(tokenizer), MAX_LENGTH), spec.min_rows, MAX_LENGTH)
    trials: list[Trial] = []
    if spec.sweep.steps:
        spec, trials = swept(spec, tokenizer, rows, lambda tried, some: _tried(tried, tokenizer, out, some, whole))
    encoded = checked(encode(rows, ids_with(tokenizer), MAX_LENGTH), spec.min_rows, MAX_LENGTH)
    examples = encoded.examples
    known = _known(spec, examples, tokenizer.pad_token_id) if spec.keep_weight else None
    model = base_model(spec)
    trainer = SftTrainer(
        spec=spec,
        lengths=[len(each.ids) for each in examples],
        progress=said or Progress(spec.steps),
        known=known,
        model=model if whole else begun(model, spec),
        args=SFTConfig(**arguments(spec, out), dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=_dataset(examples),
        processing_class=tokenizer,
    )
    known_rows = known.right if known else None
    return Prepared(trainer, len(examples), encoded.too_long, encoded.empty, known_rows, tuple(trials))


def _tried(spec: TrainingSpec, tokenizer: Any, out: Path, rows: Sequence[Row], whole: bool) -> Any:
    made = on_rows(spec, tokenizer, out, rows, whole=whole, said=Progress(spec.steps, StringIO()))
    made.trainer.train()
    return made.trainer.model


class SftTrainer(Paced, SFTTrainer):
    """SFTTrainer over batches of like length; `known` is what it is held to, where it is."""

    def __init__(self, *, spec: TrainingSpec, lengths: list[int], known: Known | None, **rest: Any) -> None:
        self._lengths = lengths
        self._known = known
        super().__init__(spec=spec, **rest)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches from `retrain.model.batches`, seeded; replaces the trainer's random ones."""
        pad = self.processing_class.pad_token_id
        return DataLoader(
            self.train_dataset,
            batch_sampler=_LikeLengths(self._lengths, self.spec),
            collate_fn=Packed(pad, MAX_LENGTH) if self.spec.packing else Padded(pad),
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Mean cross-entropy over the answers, as SFTTrainer's, and the divergence from what was known, where it is
        kept. ValueError with `return_outputs`: there are none.
        """
        if return_outputs:
            raise ValueError("this trainer has no outputs to return; score adapters with retrain.model.answers")
        places = {name: inputs[name] for name in ("attention_mask", "position_ids") if name in inputs}
        if "position_ids" in places:
            del places["attention_mask"]
        with torch.autocast(inputs["input_ids"].device.type, torch.bfloat16, enabled=self.spec.bf16):
            logits, labels = answer_logits(inner(model), inputs["input_ids"], inputs["labels"], **places)
        loss = cross_entropy(logits.float(), labels)
        if self._known is None:
            return loss
        return loss + self.spec.keep_weight * divergence(logits, self._known.of(inputs["row"].tolist()))


class Padded:
    """Rows {"input_ids", "labels", "row"} as one batch, filled up on the right."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {
            "input_ids": torch.tensor(padded([row["input_ids"] for row in rows], self._pad)),
            "attention_mask": torch.tensor(padded([[1] * len(row["input_ids"]) for row in rows], 0)),
            "labels": torch.tensor(padded([row["labels"] for row in rows], IGNORED)),
            "row": torch.tensor([row["row"] for row in rows]),
        }


class Packed:
    """The same rows one after the other in few long ones of at most ``width`` tokens; positions say where each begins,
    and no row sees another."""

    def __init__(self, pad: int, width: int) -> None:
        self._padded = Padded(pad)
        self._width = width

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        together = [[rows[index] for index in each] for each in bins([len(r["input_ids"]) for r in rows], self._width)]
        joined = [
            {name: [value for row in each for value in row[name]] for name in ("input_ids", "labels")} | {"row": 0}
            for each in together
        ]
        positions = [[place for row in each for place in range(len(row["input_ids"]))] for each in together]
        width = max(len(each) for each in positions)
        filled = [[*each, *range(width - len(each))] for each in positions]
        order = torch.tensor([row["row"] for each in together for row in each])
        return self._padded(joined) | {"position_ids": torch.tensor(filled), "row": order}


class _LikeLengths(Sampler[list[int]]):
    def __init__(self, lengths: list[int], spec: TrainingSpec) -> None:
        self._lengths = lengths
        self._spec = spec

    def __iter__(self) -> Iterator[list[int]]:
        return batches(self._lengths, self._spec.batch, self._spec.steps, Random(self._spec.seed))

    def __len__(self) -> int:
        return self._spec.steps


def _dataset(examples: Sequence[Example]) -> Any:
    return Dataset.from_dict(
        {
            "input_ids": [list(each.ids) for each in examples],
            "labels": [each.labels() for each in examples],
            "row": list(range(len(examples))),
        }
    )


def _known(spec: TrainingSpec, examples: Sequence[Example], pad: int) -> Known:
    """What the champion says to the rows; its weights are let go of before the candidate's are loaded."""
    say({"stage": "asking the champion"})
    return known_by(loaded(Path(spec.base), Path(spec.champion) if spec.champion else None), examples, pad)
