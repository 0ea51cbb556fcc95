"""What an adapter training is told and what it says back: two JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

ADAPTER_FILE = "adapter_model.safetensors"
RESULT_FILE = "result.json"


class LoraSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One LoRA training.

    `base` is a model folder, `dataset` JSONL rows {"prompt", "completion"}, `out` the adapter folder to make.
    `max_seconds` bounds the steps, not the loading; the learning rate falls along `steps` or that time, whichever ends
    first. With fewer than `min_rows` rows that can be taught the training is refused. `champion` is the adapter folder
    of the version that serves, empty where the base itself does; with `keep_weight` the training is held to what that
    one says on the rows that it answers rightly.
    `checkpoint` is the file where it goes on after its process was killed, written each `checkpoint_steps` (0: never).
    """

    base: str
    dataset: str
    out: str
    steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 150
    rank: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    alpha: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    lr: Annotated[float, msgspec.Meta(gt=0, le=1)] = 5e-3
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    max_seconds: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    min_rows: Annotated[int, msgspec.Meta(ge=1)] = 1
    champion: str = ""
    keep_weight: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    checkpoint: str = ""
    checkpoint_steps: Annotated[int, msgspec.Meta(ge=0)] = 0


class LoraResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a training went. `loss` is the mean of the last tenth of the steps; `seconds` the steps alone,
    `cpu_seconds` the processor time in them (what they take on a quiet machine with one thread), `total_seconds`
    with imports and loading; `stopped_by` is "steps" or "time". `rows` were trained on; `too_long_left_out` had
    answers that leave no room for a question, `empty_left_out` had none. The champion answered `known_rows` of them
    rightly; None where nobody asked it.
    """

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
    adapter_sha256: str
    stopped_by: str
    known_rows: int | None = None


def read_spec(path: Path) -> LoraSpec:
    """The spec in a JSON file. ValueError says which field is wrong and what it may be."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=LoraSpec)
    except msgspec.DecodeError as error:
        raise ValueError(f"training spec {path.name}: {error}; fields are {', '.join(fields())}") from error


def fields() -> tuple[str, ...]:
    """Names of the spec's fields."""
    return LoraSpec.__struct_fields__
