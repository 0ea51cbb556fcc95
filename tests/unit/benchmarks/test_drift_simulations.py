"""What the drift benchmark simulates is what it says, and its pictures come with its page."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks import drift_corpus, drift_day15, frame
from benchmarks.drift_corpus import CHANGES, Corpus, calls
from benchmarks.frame import Goal, Picture, Result, Table

TEXTS = Corpus(
    vocabulary=["where is my card"],
    reference=["my card"],
    live=["my card is lost", "top up my account with euro please"],
    unseen=["exchange rate for euro"],
)


def test_batches_are_means_of_calls_in_a_row_that_move_with_the_season() -> None:
    minutes = np.arange(0, drift_day15.DAY, dtype=np.float64)
    batches = drift_day15.draw(np.random.default_rng(0), minutes, "quality", 30, 0.0, False)
    assert [minute for minute, _ in batches] == sorted(minute for minute, _ in batches)
    assert len(batches) == pytest.approx(30 * drift_day15.DAY / drift_day15.BATCH, rel=0.05)
    morning = [value for minute, value in batches if minute < 720]
    evening = [value for minute, value in batches if minute >= 720]
    assert np.mean(morning) - np.mean(evening) > 0.05
    shifted = drift_day15.draw(np.random.default_rng(1), minutes, "quality", 30, 0.0, True)
    assert np.mean([value for _, value in batches]) - np.mean([value for _, value in shifted]) == pytest.approx(
        drift_day15.FALL, abs=0.02
    )


def test_a_fall_on_day_15_is_found_within_the_hour() -> None:
    points, fall = drift_day15.example()
    alarms = [point.minute for point in points if point.wealth >= drift_day15.RUN_LENGTH and point.minute >= fall]
    assert alarms and alarms[0] < fall + 60


def test_traffic_changes_by_its_share_and_slices_have_nothing_to_do_with_it() -> None:
    made = list(islice(calls(TEXTS, CHANGES["unseen intents"], 0.3, 1), 3_000))
    changed = [call for call in made if call.text in TEXTS.unseen]
    assert len(changed) / len(made) == pytest.approx(0.3, abs=0.03)
    assert {name for call in made for name in call.slices} == set(drift_corpus.SLICES)
    for part in (made, changed):
        assert np.mean(["tenant=a" in call.slices for call in part]) == pytest.approx(0.4, abs=0.06)
    assert made[:50] == list(islice(calls(TEXTS, CHANGES["unseen intents"], 0.3, 1), 50))


@pytest.mark.parametrize("kind", CHANGES)
def test_every_change_changes_a_text(kind: str) -> None:
    chance = Random(3)
    assert any(CHANGES[kind](TEXTS, chance) not in TEXTS.live for _ in range(20))


def test_pictures_are_drawn_with_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "IMAGES", tmp_path)
    monkeypatch.setattr(frame, "MEASURED", tmp_path)

    def draw(file: Path) -> None:
        file.write_bytes(b"drawn")

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nafter\n")
    picture = Picture("p.png", "a line", draw)
    Result(
        "x", {}, [Goal("g", 1, "", 1, "lower")], tables=[Table("T", ("a",), [("b",)])], pictures=[picture], page=page
    ).into_page()
    assert "![a line](images/p.png)" in page.read_text()
    assert (tmp_path / "p.png").read_bytes() == b"drawn"
