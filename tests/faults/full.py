"""Every scenario (``make faults``); FAULT_SEEDS names the seeds, with blanks between them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.scenario_run import run
from tests.faults.scenarios import FULL, Scenario

SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEEDS", "0").split()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", FULL, ids=lambda scenario: scenario.name.replace(" ", "-"))
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_doubled(scenario: Scenario, seed: int, tmp_path: Path) -> None:
    assert run(scenario, seed, tmp_path).wrong == {}
