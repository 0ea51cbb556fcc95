"""TRL's SFTTrainer with what a tiny model on few cores needs: batches of like length, a time limit, quiet progress.

Imports torch, TRL and PEFT at the top: import it only inside the training process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer

from retrain.model.batches import batches, padded
from retrain.model.examples import IGNORED
from retrain.model.progress import Progress
from retrain.train.checkpoints import Checkpoints, key_of
from retrain.train.keep import Known, answer_logits, divergence
from retrain.train.spec import LoraSpec

WARMUP_SHARE = 0.1


def adapted(model: Any, spec: LoraSpec) -> Any:
    """The base with a fresh LoRA on all its linear layers."""
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def arguments(spec: LoraSpec, out: Path) -> SFTConfig:
    """TRL's arguments: no evaluation, no reports, no checkpoints of its own; `spec` decides the rest."""
    return SFTConfig(
        output_dir=str(out),
        max_steps=spec.steps,
        per_device_train_batch_size=spec.batch,
        learning_rate=spec.lr,
        lr_scheduler_type="constant",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=spec.seed,
        data_seed=spec.seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def rate_share(done: float) -> float:
    """Share of the top learning rate when `done` of the training (0 to 1) is done: short rise, then a straight fall."""
    if done < WARMUP_SHARE:
        return 0.1 + 0.9 * done / WARMUP_SHARE
    return max(0.02, (1.0 - done) / (1.0 - WARMUP_SHARE))


class LoraTrainer(SFTTrainer):
    """SFTTrainer over batches of like length. `losses` and `tokens` count what was trained; `known` is what it is
    held to, where it is."""

    def __init__(
        self, *, spec: LoraSpec, lengths: list[int], progress: Progress, known: Known | None = None, **rest: Any
    ) -> None:
        self._spec = spec
        self._lengths = lengths
        self._known = known
        self._pace = _Pace(spec, progress, self)
        self.losses: list[float] = []
        self.tokens = 0
        self.before_s = 0.0
        """Seconds of training before this process went on from a checkpoint."""
        file = Path(spec.checkpoint) if spec.checkpoint else None
        self._checkpoints = Checkpoints(file, spec.checkpoint_steps, key_of(spec), self)
        super().__init__(callbacks=[self._pace, self._checkpoints], **rest)

    def figures(self) -> dict[str, Any]:
        """What a checkpoint keeps of the training beside its state."""
        return {"losses": self.losses, "tokens": self.tokens, "seconds": self._pace.seconds()}

    def go_on(self, figures: dict[str, Any]) -> None:
        """Go on counting from what a checkpoint kept."""
        self.losses, self.tokens = list(figures["losses"]), int(figures["tokens"])
        self._pace.before_s = self.before_s = float(figures["seconds"])

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Batches from `retrain.model.batches`, seeded; replaces the trainer's random ones."""
        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_sampler=_LikeLengths(self._lengths, self._spec, self._checkpoints),
            collate_fn=Collator(self.processing_class.pad_token_id),
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Mean cross-entropy over the answers, as SFTTrainer's, and the divergence from what was known, where it is
        kept. ValueError with `return_outputs`: there are none.
        """
        if return_outputs:
            raise ValueError("this trainer has no outputs to return; score adapters with retrain.model.answers")
        ids, filled = inputs["input_ids"], inputs["attention_mask"]
        logits, labels = answer_logits(model.get_base_model(), ids, filled, inputs["labels"])
        loss = cross_entropy(logits, labels)
        if self._known is None:
            return loss
        return loss + self._spec.keep_weight * divergence(logits, self._known.of(inputs["row"].tolist()))

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One step at the rate the pace allows; notes loss and tokens."""
        self._pace.set_rate()
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.losses.append(loss.item())
        self.tokens += int(inputs["attention_mask"].sum())
        return loss


class Collator:
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


class _LikeLengths(Sampler[list[int]]):
    def __init__(self, lengths: list[int], spec: LoraSpec, checkpoints: Checkpoints) -> None:
        self._lengths = lengths
        self._spec = spec
        self._checkpoints = checkpoints

    def __iter__(self) -> Iterator[list[int]]:
        every = batches(self._lengths, self._spec.batch, self._spec.steps, Random(self._spec.seed))
        return self._checkpoints.rest_of(every)

    def __len__(self) -> int:
        return self._spec.steps


class _Pace(TrainerCallback):
    """Learning rate, progress lines and the end by time."""

    def __init__(self, spec: LoraSpec, progress: Progress, trainer: LoraTrainer) -> None:
        self._spec = spec
        self._progress = progress
        self._trainer = trainer
        self._started = 0.0
        self.before_s = 0.0

    def seconds(self) -> float:
        """How long the steps have taken, in all processes."""
        return self.before_s + time.monotonic() - self._started

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        self._started = time.monotonic()

    def set_rate(self) -> None:
        """Along the steps, so that the same spec gives the same adapter, unless time runs out first."""
        rate = self._spec.lr * rate_share(max(self._trainer.state.global_step / self._spec.steps, self._late()))
        for group in self._trainer.optimizer.param_groups:
            group["lr"] = rate

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        self._progress.step(state.global_step, self._trainer.losses[-1])
        if self.seconds() >= self._spec.max_seconds:
            control.should_training_stop = True

    def _late(self) -> float:
        """Share of the time used, once more than half of it is used and steps fall behind; else 0."""
        used = self.seconds() / self._spec.max_seconds
        done = self._trainer.state.global_step / self._spec.steps
        return used if used > 0.5 and used > done else 0.0
