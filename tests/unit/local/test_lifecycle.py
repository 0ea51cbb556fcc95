"""Order, back-off and words of the stack's processes."""

from __future__ import annotations

import pytest

from tidemill.errors import Stop
from tidemill.local.lifecycle import LONGEST_BACKOFF_S, backoff_s, ended, hopeless, levels, missing, why_ended
from tidemill.local.process import Process


def process(name: str, *after: str) -> Process:
    return Process(name, ("true",), after=after)


def test_levels_put_needs_first() -> None:
    found = levels([process("gateway", "init"), process("init", "kafka", "store"), process("kafka"), process("store")])
    assert found == [["kafka", "store"], ["init"], ["gateway"]]


def test_levels_take_names_outside_for_elsewhere() -> None:
    assert levels([process("init", "kafka")]) == [["init"]]


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ([process("a", "b"), process("b", "a")], "circle: a, b"),
        ([process("a", "a")], "circle: a"),
        ([process("a"), process("a")], "two processes named 'a'"),
    ],
)
def test_levels_refuse(listed: list[Process], says: str) -> None:
    with pytest.raises(Stop, match=says):
        levels(listed)


def test_missing_counts_only_the_unsettled_here() -> None:
    waits = process("x", "ready", "done", "starting", "backoff", "elsewhere")
    phases = {"ready": "ready", "done": "done", "starting": "starting", "backoff": "backoff"}
    assert missing(waits, phases) == ["starting", "backoff"]  # type: ignore[arg-type]


def test_backoff_doubles_to_its_limit() -> None:
    pauses = [backoff_s(failures) for failures in range(1, 12)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_BACKOFF_S == max(pauses)
    assert backoff_s(10_000) == LONGEST_BACKOFF_S


def test_ended_tells_signals_from_codes() -> None:
    assert ended(-9) == "killed by signal 9"
    assert ended(3) == "ended with code 3"


def test_hopeless_only_after_several_failures() -> None:
    assert hopeless("sink", 4, 1, "boom", "x.log") is None
    assert hopeless("sink", 5, 1, "boom", "x.log") == (
        "sink does not start: tried 5 times, last time it ended with code 1: boom (log: x.log)"
    )
    assert "was killed by signal 9" in (hopeless("sink", 5, -9, "", "x.log") or "")


def test_a_process_that_ends_on_purpose_says_why_in_the_status() -> None:
    assert why_ended(1, "tidemill: too much is refused") == "ended with code 1: too much is refused"
    assert why_ended(1, '{"level": "info"}') == "ended with code 1"
    assert why_ended(-9, "tidemill: of an earlier run") == "killed by signal 9"
