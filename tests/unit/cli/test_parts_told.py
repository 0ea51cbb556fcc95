"""A part is ready once; what goes away is said, and when it is back."""

from __future__ import annotations

from dataclasses import asdict, replace

from tidemill.cli.parts_told import PartLines
from tidemill.clock import ManualClock
from tidemill.local.lifecycle import State
from tidemill.local.probes import FIRST_ANSWER

READY = State("engine", "ready", started_s=76.0, address="http://127.0.0.1:18001/v1", log="engine.log")


def test_a_part_that_stops_answering_is_said_to_be_away_and_back() -> None:
    clock = ManualClock()
    parts = PartLines(clock)
    assert "ready in   76.0 s  http://127.0.0.1:18001/v1" in parts.line(asdict(READY))
    away = asdict(replace(READY, reason=FIRST_ANSWER))
    assert "engine      [red]does not answer[/red]" in parts.line(away)
    clock.advance(12_000)
    assert parts.line(away) == ""
    assert parts.line(asdict(READY)) == "  engine      [green]is back[/green] after 12 s"
    assert parts.line(asdict(READY)) == ""


def test_a_part_that_ended_is_back_after_its_restart_and_says_what_it_waits_for() -> None:
    clock = ManualClock()
    parts = PartLines(clock)
    parts.line(asdict(READY))
    ended = replace(READY, phase="backoff", reason="killed by signal 9", restarts=1)
    assert "killed by signal 9[/red], starts again soon (log: engine.log)" in parts.line(asdict(ended))
    assert parts.line(asdict(replace(ended, phase="starting", reason=""))) == ""
    clock.advance(40_000)
    assert "is back[/green] after 40 s" in parts.line(asdict(replace(READY, restarts=1)))
    assert "is not ready: Kafka" in parts.line(asdict(replace(READY, restarts=1, reason="Kafka")))


def test_a_first_start_that_took_two_tries_is_ready_not_back() -> None:
    parts = PartLines(ManualClock())
    parts.line(asdict(replace(READY, phase="backoff", reason="ended with code 1", started_s=None)))
    assert "ready in   76.0 s" in parts.line(asdict(replace(READY, restarts=1)))
