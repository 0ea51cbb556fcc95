"""What a tally says, metric by metric; and that it says nothing where it knows nothing."""

from __future__ import annotations

import pytest

from streams.windows.figures import figures
from streams.windows.tally import Series, Tally
from tests.unit.streams.drawing import answers, requests
from tidemill.events import Cell
from tidemill.metrics import UNITS


def tally(*cells: Cell) -> Tally:
    total = Tally()
    for cell in cells:
        total.add(cell)
    return total


def test_nothing_says_nothing() -> None:
    assert figures(Tally()) == {}


def test_answers_errors_and_durations() -> None:
    found = figures(tally(answers(0, [100.0] * 9 + [1000.0], errors=2)))
    assert found["answers"].value == 10
    assert found["error_rate"].value == pytest.approx(0.2)
    assert found["cancel_rate"].value == 0
    assert found["e2e_ms"].value == pytest.approx(190)
    assert found["e2e_ms"].p50 == pytest.approx(100, rel=0.01)
    assert found["e2e_ms"].p99 == pytest.approx(100, rel=0.01)
    assert "ttft_ms" not in found
    assert "quality" not in found


def test_cost_is_of_priced_answers_only_and_unpriced_is_not_free() -> None:
    unpriced = figures(tally(answers(0, [1.0] * 4)))
    assert "cost" not in unpriced
    assert unpriced["unpriced"].value == 4
    some = figures(tally(answers(0, [1.0] * 4, cost_micros=2_500_000, priced=3)))
    assert some["cost"].value == 2.5
    assert some["cost"].n == 3
    assert some["unpriced"].value == 1


def test_quality_is_the_mean_score() -> None:
    found = figures(tally(answers(0, [1.0], quality=[1.0, 0.0, 1.0, 1.0])))
    assert (found["quality"].n, found["quality"].value) == (4, 0.75)
    assert found["quality"].p50 is None


def test_features_of_the_sampled_calls() -> None:
    found = figures(tally(requests(0, 50, chars=[10.0, 30.0])))
    assert found["requests"].value == 50
    assert (found["input_chars"].n, found["input_chars"].value) == (2, 20.0)


def test_every_metric_has_a_unit() -> None:
    found = figures(tally(answers(0, [1.0], quality=[1.0], cost_micros=1, priced=1), requests(0, 1, chars=[1.0])))
    assert found.keys() <= UNITS.keys()


def test_a_series_key_reads_back() -> None:
    series = Series("a version with blanks", "shadow", "shadow")
    assert Series.of_key(series.key) == series
