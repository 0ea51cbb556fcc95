"""What differs between a training and the same training again: digests, tensors, scores, what it was made with."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

PACKAGES = ("torch", "transformers", "peft", "trl", "tokenizers", "numpy")
_SAID = ("kind", "steps", "rows", "stopped_by", "loss", "lr", "keep_weight")
"""Of a training's result: what the same spec gives again. (Times differ.)"""


class Weights(Struct, frozen=True, kw_only=True):
    """Both files of weights. ``largest``: the largest difference of one number, None where shapes do not agree, or the
    first ones are not kept; ``differing`` of ``tensors`` are not equal.
    """

    recorded: str
    again: str
    tensors: int = 0
    differing: int = 0
    largest: float | None = None

    @property
    def equal(self) -> bool:
        """Whether they are the same, bit for bit."""
        return self.recorded == self.again


class Reproduced(Struct, frozen=True, kw_only=True):
    """A version and the same training again."""

    version: str
    job_id: str
    data_digest: str
    base_digest: str
    weights: Weights
    scores: dict[str, tuple[float | None, float | None]]
    """The gate's, by <model>/<data set>: as recorded, and again. Empty where they were not asked for again."""
    differences: list[str]
    """In words; empty: nothing differs."""


def differences(
    weights: Weights,
    recorded: Mapping[str, Any],
    again: Mapping[str, Any],
    scores: Mapping[str, tuple[float | None, float | None]],
    made_with: tuple[Mapping[str, str], Mapping[str, str]],
) -> list[str]:
    """All differences in words, what explains the others first."""
    before, now = made_with
    found = [
        f"made with {name} {before[name]}, now {now.get(name, 'not installed')}"
        for name in sorted(before)
        if before[name] != now.get(name)
    ]
    found += [
        f"{name} of the training: {recorded[name]}, again {again[name]}"
        for name in _SAID
        if name in recorded and name in again and recorded[name] != again[name]
    ]
    if "time" in (recorded.get("stopped_by"), again.get("stopped_by")) and not weights.equal:
        found.append("a training that its time limit ended is not the same twice; raise retrain.timeout_s")
    if not weights.equal:
        largest = "they cannot be compared" if weights.largest is None else f"by at most {weights.largest:.3g}"
        found.append(f"weights: {weights.differing} of {weights.tensors} tensors differ, {largest}")
    found += [
        f"score {name}: {_score(one)}, again {_score(other)}" for name, (one, other) in scores.items() if one != other
    ]
    return found


def weights(recorded: Path, again: Path, digests: tuple[str, str]) -> Weights:
    """Both files of weights beside each other; ``recorded`` may be gone."""
    if digests[0] == digests[1]:
        return Weights(recorded=digests[0], again=digests[1])
    from safetensors.numpy import load_file

    new: Mapping[str, Any] = load_file(again)
    old: Mapping[str, Any] = load_file(recorded) if recorded.is_file() else {}
    names = sorted({*old, *new})
    apart = [_apart(old.get(name), new.get(name)) for name in names]
    known = [each for each in apart if each is not None]
    return Weights(
        recorded=digests[0],
        again=digests[1],
        tensors=len(names),
        differing=sum(each is None or each > 0 for each in apart),
        largest=max(known, default=0.0) if len(known) == len(apart) and names else None,
    )


def made_with() -> dict[str, str]:
    """What decides the bits of a training, beside its spec: packages, interpreter, kind of machine."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _apart(one: Any, other: Any) -> float | None:
    if one is None or other is None or one.shape != other.shape:
        return None
    return float(np.max(np.abs(one.astype(np.float64) - other.astype(np.float64)), initial=0.0))


def _score(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
