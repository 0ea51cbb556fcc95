"""What a training is told and what it says back: two JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

ADAPTER_FILE = "adapter_model.safetensors"
MODEL_FILE = "model.safetensors"
RESULT_FILE = "result.json"

Kind = Literal["sft", "kto", "dpo", "distill", "full"]
"""Recipes by name; each is a module of `retrain.train.recipes`."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other values to try before a training: `steps` each (0: no sweep), begun within `seconds`."""

    steps: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    lr: tuple[float, ...] = ()
    keep_weight: tuple[float, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of a sweep: its values, and its loss on the rows kept back."""

    lr: float
    keep_weight: float
    steps: int
    loss: float
    seconds: float


class TrainingSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training.

    `base` is a model folder, `dataset` JSONL rows as the recipe `kind` needs them (`retrain.model.examples`), `out` the
    folder to make: an adapter, of `full` a model. `champion` is the adapter folder of the version that serves, empty
    where the base itself does. From `start` champion the training goes on from that adapter; with `keep_weight` it is
    held to what that one says on the rows that it answers rightly. `teacher` is the model folder that `distill` learns
    from, empty: the champion. `beta` is how strongly `kto` and `dpo` are held to the champion.
    `max_seconds` bounds the steps, not the loading; the learning rate falls along `steps` or that time, whichever ends
    first. With fewer than `min_rows` rows that can be taught the training is refused. `peak_tflops` is what the device
    can do at most, where it is none that is known. `checkpoint` is the file where it goes on after its process was
    killed, written each `checkpoint_steps` (0: never).
    """

    base: str
    dataset: str
    out: str
    kind: Kind = "sft"
    champion: str = ""
    start: Literal["base", "champion"] = "base"
    teacher: str = ""
    steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 150
    rank: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    alpha: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    lr: Annotated[float, msgspec.Meta(gt=0, le=1)] = 5e-3
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    keep_weight: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    beta: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.1
    packing: bool = False
    bf16: bool = False
    gradient_checkpointing: bool = False
    report_to: str = ""
    sweep: Sweep = Sweep()
    peak_tflops: Annotated[float, msgspec.Meta(gt=0)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    max_seconds: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    min_rows: Annotated[int, msgspec.Meta(ge=1)] = 1
    checkpoint: str = ""
    checkpoint_steps: Annotated[int, msgspec.Meta(ge=0)] = 0


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a training went. `loss` is the mean of the last tenth of the steps; `seconds` the steps alone,
    `cpu_seconds` the processor time in them (what they take on a quiet machine with one thread), `total_seconds`
    with imports and loading; `stopped_by` is "steps" or "time". `rows` were trained on; `too_long_left_out` had
    answers that leave no room for a question, `empty_left_out` had none. The champion answered `known_rows` of them
    rightly; None where nobody asked it. `mfu` is the share of the device's peak that the weights' multiplications took
    (`retrain.train.throughput`); None where the peak is not known. `adapter_sha256` is of the weights written.
    `lr` and `keep_weight` are what it was trained by: a sweep chose them, where there are `trials`.
    """

    kind: str
    loss: float
    steps: int
    rows: int
    too_long_left_out: int
    empty_left_out: int
    tokens: int
    seconds: float
    cpu_seconds: float
    total_seconds: float
    tokens_per_s: float
    mfu: float | None
    adapter_sha256: str
    stopped_by: str
    known_rows: int | None = None
    lr: float = 0.0
    keep_weight: float = 0.0
    trials: tuple[Trial, ...] = ()


def read_spec(path: Path) -> TrainingSpec:
    """The spec in a JSON file. ValueError says which field is wrong and what it may be."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingSpec)
    except msgspec.DecodeError as error:
        raise ValueError(f"training spec {path.name}: {error}; fields are {', '.join(fields())}") from error


def fields() -> tuple[str, ...]:
    """Names of the spec's fields."""
    return TrainingSpec.__struct_fields__
