"""A first training is announced at once and never silent."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tidemill.cli.models_made import ModelLines, models_shown
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.local.models import Models, prepare

BEGUN = {"begun": 1, "all": 3, "kept": "/models"}


def test_a_training_is_announced_once_and_says_its_steps_every_15_s() -> None:
    said: list[str] = []
    clock = ManualClock()
    report = ModelLines(said.append, clock)
    report("base", BEGUN)
    for step in range(1, 41):
        clock.advance(1_000)
        report("base", {"step": step, "of": 450, "loss": 1.0})
    report("base", {"done": True, "steps": 450})
    report("schedule", BEGUN | {"begun": 2})
    assert "trained the first time" in said[0] and "minutes" in said[0] and "/models" in said[0]
    assert said[1:] == [
        "model base (1 of 3): loads, which takes a while, then trains",
        "model base: step 15 of 450",
        "model base: step 30 of 450",
        "model base: trained",
        "model schedule (2 of 3): loads, which takes a while, then trains",
    ]


def test_models_that_are_there_are_not_worth_a_line() -> None:
    said: list[str] = []
    ModelLines(said.append, ManualClock())("base", {"cached": True})
    assert said == []


def test_a_terminal_shows_a_bar_for_each_model() -> None:
    out = io.StringIO()
    with models_shown(Console(file=out, force_terminal=True, width=120)) as report:
        report("base", BEGUN)
        report("base", {"stage": "loading"})
        report("base", {"step": 9, "of": 450, "loss": 1.0})
        report("base", {"done": True})
    assert "trained the first time" in out.getvalue()
    assert "model base (1 of 3)" in out.getvalue() and " trained " in out.getvalue()


def test_a_training_says_that_it_begins_before_its_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, object]] = []
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Stop, match="training of base ended with code 1"):
        made: Models = prepare(tmp_path, lambda what, facts: told.append((what, facts)))
        assert made
    assert told == [("base", {"begun": 1, "all": 3, "kept": str(tmp_path)})]
