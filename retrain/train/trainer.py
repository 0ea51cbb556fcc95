"""What every recipe's trainer has in common, whichever of TRL's it is: rate, end by time, quiet progress, figures.

Imports torch, TRL and PEFT at the top: import it only inside the training process.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from retrain.model.progress import Progress
from retrain.train import throughput
from retrain.train.checkpoints import Checkpoints
from retrain.train.rows import Untrainable
from retrain.train.spec import ADAPTER_FILE, TrainingSpec

WARMUP_SHARE = 0.1


def base_model(spec: TrainingSpec) -> Any:
    """The base in float32; bf16 computes in bfloat16 and keeps these weights."""
    return AutoModelForCausalLM.from_pretrained(spec.base, dtype="float32", local_files_only=True)


def begun(model: Any, spec: TrainingSpec) -> Any:
    """The base with the LoRA that `spec.start` says. Raises Untrainable."""
    return as_champion(model, spec) if spec.start == "champion" else adapted(model, spec)


def adapted(model: Any, spec: TrainingSpec) -> Any:
    """The base with a fresh LoRA on all its linear layers."""
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def as_champion(model: Any, spec: TrainingSpec) -> Any:
    """The base with a LoRA that says what the champion's says, to go on from; a fresh one where the base itself serves.

    A champion of lower rank fills a part of it. Raises Untrainable where its rank is higher than the one asked for.
    """
    made = adapted(model, spec)
    if not spec.champion:
        return made
    folder = Path(spec.champion)
    config = PeftConfig.from_pretrained(folder)
    if config.r > spec.rank:
        raise Untrainable(
            f"the training goes on from the champion's adapter of rank {config.r}, and retrain.rank is {spec.rank}; "
            f"set retrain.rank: {config.r}, or retrain once with recipe sft and start: base"
        )
    theirs = load_file(folder / ADAPTER_FILE)
    weights = get_peft_model_state_dict(made)
    scale = (config.lora_alpha / config.r) / (spec.alpha / spec.rank)
    with torch.no_grad():
        for name, old in theirs.items():
            if "lora_A" in name:
                weights[name][: config.r] = old
            else:
                weights[name][:, : config.r] = old * scale
    set_peft_model_state_dict(made, weights)
    return made


def arguments(spec: TrainingSpec, out: Path) -> dict[str, Any]:
    """Arguments of TRL's configurations: no evaluation, no checkpoints of their own; `spec` decides the rest."""
    return {
        "output_dir": str(out),
        "max_steps": spec.steps,
        "per_device_train_batch_size": spec.batch,
        "learning_rate": spec.lr,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "logging_strategy": "steps" if spec.report_to else "no",
        "logging_steps": 1,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": spec.report_to or "none",
        "disable_tqdm": True,
        "seed": spec.seed,
        "data_seed": spec.seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": spec.bf16,
        "fp16": False,
        "gradient_checkpointing": spec.gradient_checkpointing,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "max_length": None,
    }


def rate_share(done: float) -> float:
    """Share of the top learning rate when `done` of the training (0 to 1) is done: short rise, then a straight fall."""
    if done < WARMUP_SHARE:
        return 0.1 + 0.9 * done / WARMUP_SHARE
    return max(0.02, (1.0 - done) / (1.0 - WARMUP_SHARE))


class Paced:
    """Beside one of TRL's trainers: the rate that the pace allows. `losses` and `tokens` count what was trained."""

    def __init__(self, *, spec: TrainingSpec, progress: Progress, **rest: Any) -> None:
        self.spec = spec
        self.pace = Pace(spec, progress, self)
        self.losses: list[float] = []
        self.tokens = 0
        self._checkpoints = Checkpoints(spec, self)
        super().__init__(callbacks=[self.pace, self._checkpoints], **rest)  # type: ignore[call-arg]
        self.remove_callback(PrinterCallback)  # type: ignore[attr-defined]  # stdout is for our JSON lines

    def figures(self) -> dict[str, Any]:
        """What a checkpoint keeps of the training beside its state."""
        return {"losses": self.losses, "tokens": self.tokens, "seconds": self.pace.seconds}

    def go_on(self, figures: dict[str, Any]) -> None:
        """Go on counting from what a checkpoint kept."""
        self.losses, self.tokens = list(figures["losses"]), int(figures["tokens"])
        self.pace.go_on(float(figures["seconds"]))

    def _run_epoch(self, *, train_dataloader: Any, epoch: int, **rest: Any) -> None:
        """One pass over the batches, without those that were trained on before the process was killed."""
        left = self._checkpoints.rest_of(train_dataloader, epoch)
        if left is not None:
            super()._run_epoch(train_dataloader=left, epoch=epoch, **rest)  # type: ignore[misc]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One step at the rate the pace allows; notes loss and tokens."""
        self.pace.set_rate()
        tokens = int(tokens_in(inputs))
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        self.losses.append(loss.item())
        self.tokens += tokens
        return loss


def tokens_in(inputs: dict[str, Any]) -> int:
    """Tokens of a batch, without what only fills it up."""
    return int(inputs["attention_mask"].sum())


class Pace(TrainerCallback):
    """Learning rate, progress lines and the end by time. `seconds` is how long the steps took."""

    def __init__(self, spec: TrainingSpec, progress: Progress, trainer: Any) -> None:
        self._spec = spec
        self._progress = progress
        self._trainer = trainer
        self._started = 0.0
        self._per_token = 0.0
        self._peak: float | None = None
        self.seconds = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
        self._peak = throughput.peak(device, bf16=self._spec.bf16, given=self._spec.peak_tflops)
        self._per_token = throughput.operations(*throughput.weights(self._trainer.model))
        self._started = time.monotonic()

    def go_on(self, seconds: float) -> None:
        """The steps have taken so long already, in a process that was killed."""
        self._started -= seconds

    def set_rate(self) -> None:
        """Along the steps, so that the same spec gives the same weights, unless time runs out first."""
        rate = self._spec.lr * rate_share(max(self._trainer.state.global_step / self._spec.steps, self._late()))
        for group in self._trainer.optimizer.param_groups:
            group["lr"] = rate

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        self.seconds = time.monotonic() - self._started
        figures = {"tokens_per_s": round(self.tokens_per_s, 1), "mfu": self.mfu}
        self._progress.step(state.global_step, self._trainer.losses[-1], **figures)
        if self.seconds >= self._spec.max_seconds:
            control.should_training_stop = True

    @property
    def tokens_per_s(self) -> float:
        """Tokens trained on a second so far."""
        return float(self._trainer.tokens / self.seconds) if self.seconds else 0.0

    @property
    def mfu(self) -> float | None:
        """Share of the device's peak so far; None where that is not known."""
        found = throughput.utilization(self.tokens_per_s, self._per_token, self._peak)
        return None if found is None else round(found, 4)

    def _late(self) -> float:
        """Share of the time used, once more than half of it is used and steps fall behind; else 0."""
        used = (time.monotonic() - self._started) / self._spec.max_seconds
        done = self._trainer.state.global_step / self._spec.steps
        return used if used > 0.5 and used > done else 0.0
