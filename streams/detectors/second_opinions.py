"""river's detectors, with snapshots that are plain data: second opinions beside detectors that keep a promise.

None of them bounds how often it cries wolf over time, so their alarms are no part of the false-alarm budget.
``river.drift`` is imported on first use (it imports pandas and scikit-learn).
"""

from __future__ import annotations

import importlib
from collections import deque
from random import Random
from typing import Any

import msgspec
import river
from msgspec import Struct
from river.base import DriftDetector

NAMES = {
    "adwin": ("river.drift", "ADWIN"),
    "page_hinkley": ("river.drift", "PageHinkley"),
    "kswin": ("river.drift", "KSWIN"),
    "hddm_a": ("river.drift.binary", "HDDMA"),
    "hddm_w": ("river.drift.binary", "HDDMW"),
}


class OpinionState(Struct, frozen=True):
    """A detector's fields as MessagePack, bound to the river version and the parameters that made them."""

    river: str
    name: str
    parameters: dict[str, float | int | bool | str | None]
    record: bytes


class SecondOpinion(DriftDetector):
    """One of river's detectors by name (NAMES), with river's parameters; HDDM takes values in [0, 1]."""

    def __init__(self, name: str, parameters: dict[str, float | int | bool | str | None] | None = None) -> None:
        super().__init__()
        if name not in NAMES:
            raise ValueError(f"there is no second opinion {name!r}; choose one of {', '.join(NAMES)}")
        self.name = name
        self.parameters = dict(parameters or {})
        if name == "kswin":
            self.parameters.setdefault("seed", 0)
        module, kind = NAMES[name]
        self._detector: Any = getattr(importlib.import_module(module), kind)(**self.parameters)

    def update(self, x: float) -> None:
        """Take one value."""
        self._detector.update(x)
        self._drift_detected = self._detector.drift_detected

    def snapshot(self) -> OpinionState:
        """The exact state."""
        return OpinionState(
            river.__version__, self.name, self.parameters, msgspec.msgpack.encode(_plain(self._detector))
        )

    def restore(self, state: OpinionState) -> None:
        """Go on as the detector whose snapshot this is."""
        made = (state.river, state.name, state.parameters)
        if made != (river.__version__, self.name, self.parameters):
            raise ValueError(f"the state was made by {made}, which this detector is not: start anew")
        _fill(self._detector, msgspec.msgpack.decode(state.record))
        self._drift_detected = self._detector.drift_detected


def _plain(value: Any) -> Any:
    """Fields, numbers and words; whatever can be called is code and stays out."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value)  # scipy's p-values are numpy's
        case deque():
            return list(value)
        case Random():
            return value.getstate()
    if not hasattr(value, "__dict__"):  # native code, which gives its state as bytes
        return bytes(value.__getstate__())
    return {name: _plain(field) for name, field in vars(value).items() if not callable(field)}


def _fill(value: Any, plain: dict[str, Any]) -> None:
    for name, field in plain.items():
        held = getattr(value, name)
        match held:
            case None | bool() | int() | float() | str():
                setattr(value, name, field)
            case deque():
                setattr(value, name, deque(field, maxlen=held.maxlen))
            case Random():
                version, numbers, gauss = field
                held.setstate((version, tuple(numbers), gauss))
            case _ if isinstance(field, bytes):
                held.__setstate__(field)
            case _:
                _fill(held, field)
