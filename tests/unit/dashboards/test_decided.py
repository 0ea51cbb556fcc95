"""What the console says of decisions on a retraining."""

from __future__ import annotations

import pytest

from dashboards.console.decided import lines, verdict
from tests.unit.dashboards.console_pictures import decision


def test_a_decision_is_told_with_all_its_reasons_and_the_figures_that_are_known() -> None:
    (line,) = lines((decision(),))
    assert (line.headline, line.icon) == ("quality alarm: not now", "hourglass_empty")
    assert line.reasons == (
        "cooling down for another 600 s",
        "it does not pay",
        "looked at again from 2025-11-22T08:31Z on",
    )
    assert line.figures == "loss 0.87 · 120 fresh labels of 300 · GPU 0.00 of 10 h"


@pytest.mark.parametrize(
    ("act", "again_ms", "word"),
    [("open", None, "begins"), ("ignore", None, "no retraining"), ("decline", None, "no retraining")],
)
def test_what_was_decided_is_a_word_or_two(act: str, again_ms: int | None, word: str) -> None:
    assert verdict(decision(act, again_ms=again_ms)) == word  # type: ignore[arg-type]


def test_attempts_after_the_first_and_other_triggers_are_told() -> None:
    found = lines((decision("open", attempt=1, trigger="age", again_ms=None), decision("open", trigger="schedule")))
    assert [line.headline for line in found] == ["old data, attempt 2: begins", "schedule: begins"]
