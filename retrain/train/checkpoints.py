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
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from retrain.launchers.folder import STEP
from retrain.model.progress import say
from retrain.train.spec import TrainingSpec

log = logging.getLogger(__name__)
_WEIGHT, _OPTIMIZER, _RANDOM, _CUDA_RANDOM = "weight.", "optimizer.", "random", "random.cuda"


class Checkpoints(TrainerCallback):
    """Writes checkpoints of a trainer, and has it go on from the one it finds.

    ``trainer`` has `figures() -> dict` and `go_on(dict)` beside what transformers' one has: figures of its own that
    JSON can hold.
    """

    def __init__(self, spec: TrainingSpec, trainer: Any) -> None:
        self._file = Path(spec.checkpoint) if spec.checkpoint and spec.checkpoint_steps else None
        self._every = spec.checkpoint_steps
        self._key = key_of(spec)
        self._trainer = trainer
        self._passed = 0
        self._random: dict[str, Any] = {}

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
        self._random = {name: tensors[name] for name in (_RANDOM, _CUDA_RANDOM) if name in tensors}
        self._passed = state.global_step = int(told[STEP])
        self._trainer.go_on(json.loads(told["figures"]))
        say({"stage": f"going on from step {state.global_step}"})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Write a checkpoint when it is time; not after the last step."""
        if self._file is not None and state.global_step % self._every == 0 and state.global_step < state.max_steps:
            told = {STEP: str(state.global_step), "key": self._key, "figures": json.dumps(self._trainer.figures())}
            _write(self._file, _tensors(self._trainer), told)

    def rest_of(self, batches: Any, epoch: int) -> Any | None:
        """The batches of an epoch that are still to be trained on; None where there are none.

        Batches come in the same order each time: what was trained on is drawn again and left out.
        """
        if self._passed and self._passed >= len(batches):
            if hasattr(batches, "set_epoch"):
                batches.set_epoch(epoch)
            self._passed -= sum(1 for _ in batches)
            return None
        return Rest(batches, self)

    def goes_on(self) -> bool:
        """Whether the next batch is one to train on; when the first of them comes, chance is as it was."""
        if self._passed:
            self._passed -= 1
            return False
        if self._random:
            _put_back_random(self._random)
            self._random = {}
        return True


class Rest:
    """A data loader without the batches that were trained on before; everything else of it is as it is."""

    def __init__(self, batches: Any, checkpoints: Checkpoints) -> None:
        self._batches = batches
        self._checkpoints = checkpoints

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        return (batch for batch in self._batches if self._checkpoints.goes_on())


def key_of(spec: TrainingSpec) -> str:
    """What tells one training from another: all but how much time it has."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(spec, max_seconds=1.0))).hexdigest()


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


def _put_back_random(states: dict[str, Any]) -> None:
    import torch

    torch.set_rng_state(states[_RANDOM])
    if _CUDA_RANDOM in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[_CUDA_RANDOM])


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
