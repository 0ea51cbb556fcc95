"""The shell around river's native ADWIN is left out for its imports; nothing else may differ."""

from __future__ import annotations

import random

import pytest

from streams.detectors.adwin import CLOCK, Adwin


@pytest.mark.parametrize("seed", range(10))
def test_it_finds_what_rivers_adwin_finds(seed: int) -> None:
    from river.drift import ADWIN

    chance = random.Random(seed)
    ours, theirs, changes = Adwin(0.002), ADWIN(delta=0.002, clock=CLOCK), 0
    for level in (0.2, 0.8, 0.3):
        for _ in range(500):
            value = float(chance.random() < level)
            found = ours.update(value)
            theirs.update(value)
            assert found == theirs.drift_detected
            if found:
                changes += 1
                ours = Adwin(0.002)
    assert changes >= 2
