"""river's detectors behind the same interface."""

from __future__ import annotations

import random

import pytest

from streams.detectors.second_opinions import NAMES, SecondOpinion


@pytest.mark.parametrize("name", NAMES)
def test_it_alarms_when_rivers_own_does(name: str) -> None:
    import importlib

    module, kind = NAMES[name]
    parameters = {"seed": 0} if name == "kswin" else {}
    ours, theirs = SecondOpinion(name), getattr(importlib.import_module(module), kind)(**parameters)
    chance, found = random.Random(1), 0
    for share in (0.2, 0.9):
        for _ in range(300):
            value = float(chance.random() < share)
            ours.update(value)
            theirs.update(value)
            assert ours.drift_detected == theirs.drift_detected
            found += ours.drift_detected
    assert found
    another = SecondOpinion(name)
    another.restore(ours.snapshot())
    values = [float(chance.random() < 0.5) for _ in range(300)]
    assert _alarms(another, values) == _alarms(ours, values)


def _alarms(detector: SecondOpinion, values: list[float]) -> list[int]:
    alarms = []
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(at)
    return alarms


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no second opinion 'ddm'; choose one of adwin"):
        SecondOpinion("ddm")
    with pytest.raises(ValueError, match="start anew"):
        SecondOpinion("adwin").restore(SecondOpinion("adwin", {"delta": 0.1}).snapshot())
