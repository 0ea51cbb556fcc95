"""Where a training goes on after its process was killed: one safetensors file, replaced whole every so many steps.

It holds what the next step depends on: the weights that learn, the optimizer's state, torch's random state, and in the
header steps, losses and times. So a training that was killed gives the very same weights as one that was not (on a CPU,
and unless time had to end it). A file of another spec, or one that cannot be read, is as none.

Imports torch inside, as the training process does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from retrain.launchers.folder import STEP
from retrain.model.progress import say

log = logging.getLogger(__name__)
_WEIGHT, _OPTIMIZER, _RANDOM, _CUDA_RANDOM = "weight.", "optimizer.", "random", "random.cuda"


def key_of(spec: Struct) -> str:
    """What tells one training from another."""
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()


class Checkpoints(TrainerCallback):
    """Writes checkpoints of a trainer, and has it go on from the one it finds.

    ``trainer`` has `figures() -> dict` and `go_on(dict)` beside what transformers' one has: figures of its own that
    JSON can hold. ``every`` is in steps; 0 writes none.
    """

    def __init__(self, file: Path | None, every: int, key: str, trainer: Any) -> None:
        self._file = file if every else None
        self._every = every
        self._key = key
        self._trainer = trainer
        self.done = 0
        """Steps that were done when this process began."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        """Go on from the checkpoint, where there is one of this training."""
        if self._file is None or not self._file.is_file():
            return
        try:
            tensors, told = _read(self._file)
        except (OSError, SafetensorError, ValueError) as error:
            log.warning("the checkpoint cannot be read, the training begins anew: %s", error)
            return
        if told.get("key") != self._key:
            log.warning("the checkpoint is of another training, this one begins anew")
            return
        _put_back(self._trainer, tensors)
        self.done = state.global_step = int(told[STEP])
        self._trainer.go_on(json.loads(told["figures"]))
        say({"stage": f"going on from step {self.done}"})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Write a checkpoint when it is time; not after the last step."""
        if self._file is not None and state.global_step % self._every == 0 and state.global_step < state.max_steps:
            told = {STEP: str(state.global_step), "key": self._key, "figures": json.dumps(self._trainer.figures())}
            _write(self._file, _tensors(self._trainer), told)

    def rest_of(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Batches after those that were trained on before; ``batches`` come in the same order each time."""
        for number, batch in enumerate(batches):
            if number >= self.done:
                yield batch


def _tensors(trainer: Any) -> dict[str, Any]:
    import torch

    found = {_WEIGHT + name: weight for name, weight in _learning(trainer.model).items()}
    for index, values in trainer.optimizer.state_dict()["state"].items():
        found |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in values.items()}
    found[_RANDOM] = torch.get_rng_state()
    if torch.cuda.is_available():
        found[_CUDA_RANDOM] = torch.cuda.get_rng_state()
    return {name: value.detach().cpu().contiguous() for name, value in found.items()}


def _put_back(trainer: Any, tensors: dict[str, Any]) -> None:
    import torch

    with torch.no_grad():
        for name, weight in _learning(trainer.model).items():
            weight.copy_(tensors[_WEIGHT + name])
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, of_it = name.removeprefix(_OPTIMIZER).split(".", 1)
            states.setdefault(int(index), {})[of_it] = value
    trainer.optimizer.load_state_dict({**trainer.optimizer.state_dict(), "state": states})
    torch.set_rng_state(tensors[_RANDOM])
    if _CUDA_RANDOM in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_CUDA_RANDOM])


def _learning(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with safe_open(file, framework="pt") as source:
        return {name: source.get_tensor(name) for name in source.keys()}, dict(source.metadata() or {})  # noqa: SIM118


def _write(file: Path, tensors: dict[str, Any], told: dict[str, str]) -> None:
    from safetensors.torch import save_file

    unfinished = file.with_name(file.name + ".unfinished")
    save_file(tensors, unfinished, metadata=told)
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(file)
