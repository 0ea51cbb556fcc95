"""The text streams alter what they say, from the change on and not before; a monitor's outcome is counted rightly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.drift_monitors import Ours
from benchmarks.drift_text import watch
from benchmarks.drift_texts import INJECTIONS, SHARE, Text, pool, read, reference, stream

TEXTS = [Text(f"where is my {thing} number {n}", thing) for thing in map("thing{}".format, range(20)) for n in range(5)]


class Scripted:
    """Alarms at these calls."""

    def __init__(self, *alarms: int) -> None:
        self._alarms, self._calls = alarms, 0

    def update(self, text: str, slice_: str) -> str | None:
        self._calls += 1
        return "x" if self._calls in self._alarms else None


def calls(n: int) -> Iterator[tuple[str, str]]:
    return iter([("text", "tenant-a")] * n)


def test_the_outcome_counts_false_alarms_and_calls_until_the_first_true_one() -> None:
    found = watch(Scripted(3, 10, 11, 17), calls(100), quiet=10)
    assert (found.false, found.delay) == (2, 1)
    assert watch(Scripted(), calls(20), quiet=10).delay is None


@pytest.mark.parametrize("kind", INJECTIONS)
def test_a_share_is_altered_from_the_change_on(kind: str) -> None:
    drawn = pool(TEXTS, seed=1)
    known = set(drawn.known)
    assert not known & set(drawn.held_back) and len(drawn.held_back) == 35
    said = [text for text, _ in stream(drawn, INJECTIONS[kind], 1, 300, 1_000)]
    assert set(said[:300]) <= known
    altered = sum(text not in known for text in said[300:]) / 1_000
    assert abs(altered - SHARE) < 0.06
    assert said == [text for text, _ in stream(drawn, INJECTIONS[kind], 1, 300, 1_000)]


def test_ours_alarms_on_one_budget() -> None:
    drawn = pool(TEXTS, seed=0)
    monitor = Ours(reference(drawn, 700, 0), 0)
    assert monitor.series == 24
    assert watch(monitor, stream(drawn, INJECTIONS["twice as long"], 0, 300, 1_500), 300).delay is not None


def test_questions_are_read_by_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "questions.csv"
    file.write_text('text,category\n"where, my card?",card\n', encoding="utf-8")
    assert read(file) == [Text("where, my card?", "card")]
