"""A projection that says something else than its table is told from a table that moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.audit import projections
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings


@pytest.mark.parametrize(
    ("looks", "equal"),
    [
        ([[2, 10.0], [2, 10.0], [2, 10.0]], True),
        ([[2, 10.0], [2, 9.0], [2, 10.0]], False),
        ([[2, 10.0], [3, 11.0], [3, 11.0], [3, 11.0], [3, 11.0 + 1e-12], [3, 11.0]], True),
        ([[n, float(n)] for n in range(9)], None),
    ],
)
def test_three_looks_decide(looks: list[list[float]], equal: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    given: Iterator[list[float]] = iter(looks)
    monkeypatch.setattr(projections, "_totals", lambda *_: next(given))
    assert projections._equal(Store(Settings()), "responses", "by_minute", "") is equal


def test_only_the_minutes_since_a_time_are_asked_for() -> None:
    assert projections.since("requests", None) == "requests"
    assert projections.since("requests", 60_000) == (
        "requests WHERE toStartOfMinute(time) >= toStartOfMinute(fromUnixTimestamp64Milli(60000))"
    )
