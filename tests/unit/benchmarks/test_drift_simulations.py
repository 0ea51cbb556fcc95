"""What the drift benchmark simulates is what it says, and its pictures come with its page."""

from __future__ import annotations

import pickle
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks import drift, drift_corpus, drift_day15, drift_day15_ways, drift_text, drift_text_page, frame
from benchmarks.drift_corpus import CHANGES, Corpus, calls
from benchmarks.drift_day15_ways import STAGE2
from benchmarks.drift_peers import PEERS
from benchmarks.drift_stage2 import Said, Stage2
from benchmarks.frame import Goal, Picture, Result, Table
from benchmarks.parts import measured

TEXTS = Corpus(
    vocabulary=["where is my card"],
    reference=["my card"],
    live=["my card is lost", "top up my account with euro please"],
    unseen=["exchange rate for euro"],
)


def test_calls_are_in_order_and_move_with_the_season() -> None:
    scores = drift_day15.draw(np.random.default_rng(0), 0, drift_day15.DAY, "quality", 30, 0.0)
    assert np.all(np.diff(scores.times_ms) >= 0) and scores.times_ms[-1] < drift_day15.DAY * 60_000
    assert len(scores.values) == pytest.approx(30 * drift_day15.DAY, rel=0.05)
    morning = scores.times_ms < 12 * 3_600_000
    assert scores.values[morning].mean() - scores.values[~morning].mean() > 0.05
    fallen = drift_day15.draw(np.random.default_rng(1), 0, drift_day15.DAY, "quality", 30, 0.0, drift_day15.FALL)
    assert scores.values.mean() - fallen.values.mean() == pytest.approx(drift_day15.FALL, abs=0.02)
    usual, longer = (
        drift_day15.draw(np.random.default_rng(2), 0, drift_day15.DAY, "length", 30, 0.0, shift)
        for shift in (None, drift_day15.RISE)
    )
    assert longer.values.mean() / usual.values.mean() == pytest.approx(drift_day15.RISE)


def test_a_fall_on_day_15_is_found_within_the_hour() -> None:
    seen, fall = drift_day15.example()
    alarms = [each.time_ms for each in seen if each.alarmed and each.time_ms >= fall * 60_000]
    assert alarms and alarms[0] < (fall + 60) * 60_000


def test_stage_2_finds_a_large_shift_within_the_hour_and_its_min_drop_keeps_small_falls_back() -> None:
    for kind, shift in (("quality", 0.4), ("length", 2.0)):
        chance, watch = np.random.default_rng(4), drift_day15_ways.stage2(4, kind)
        assert not [*watch.alarms(drift_day15.draw(chance, 0, 9 * drift_day15.DAY, kind, 5, 0.0))]
        now = 9 * drift_day15.DAY
        changed = drift_day15.draw(chance, now, now + 60, kind, 60, 0.0, shift)
        if isinstance(watch, drift_day15_ways.Scores):
            assert not [*watch.with_min_drop(0.9).alarms(changed)]
        (alarm,) = watch.alarms(changed)
        assert now <= alarm / 60_000 < now + 60
        assert drift_day15_ways.state_bytes(watch) < 20_000


@pytest.mark.parametrize("kind", drift_day15.KINDS)
def test_stage_2_finds_on_day_15_what_it_should_and_nothing_in_the_fortnight_before(kind: str) -> None:
    """Ten points of quality with `min_drop: 0.05`, lengths 30 % longer, at 60 calls a minute; beside the hours that
    the shift is compared with, a week and two weeks ago, there is a call a minute."""
    chance, watch = np.random.default_rng(4), drift_day15_ways.stage2(4, kind)

    def alarms(day: int, since: int, until: int, pace: float, shift: float | None = None) -> list[int]:
        begin = day * drift_day15.DAY
        drawn = drift_day15.draw(chance, begin + 60 * since, begin + 60 * until, kind, pace, 0.0, shift)
        return [*watch.alarms(drawn)]

    for day in range(14):
        for since, until in ((0, 8), (8, 11), (11, 24)):
            assert not alarms(day, since, until, 60.0 if since == 8 and day % 7 == 0 else 1.0)
    assert not alarms(14, 0, 8, 1.0) + alarms(14, 8, 9, 60.0)
    found = alarms(14, 9, 10, 60.0, drift_day15.SHIFTS[kind])
    assert len(found) == 1 and found[0] >= (drift_day15.BEGIN + 9 * 60) * 60_000


def test_day_15_counts_what_each_way_finds() -> None:
    drops: dict[tuple[float, float], list[int | None]] = {each: [7] for each in drift_day15.DROPS}
    found = drift_day15.Run(STAGE2, 60, 1, 0, {"quality": [3, None], "length": [4, 5]}, drops, 9)
    other = found._replace(before=2, state_bytes=7)
    (joined,) = drift_day15.day15([found, other])
    assert (joined.runs, joined.before, joined.found_share, joined.state_bytes) == (2, 3, 0.75, 9)
    rows = drift_day15.drops_table([joined]).rows
    assert rows[:2] == [("0.05", "10 points", "2 of 4; 3 min"), ("0.1", "10 points", "2 of 2; 7 min")]
    assert drift_day15.day15_table([joined]).rows[0][5:7] == ("2 of 4; 3 min", "4 of 4; 5 min"), "the same falls"


def test_stage_2_finds_longer_questions_and_nothing_before() -> None:
    watched, seed = Stage2(TEXTS, 1, 1), 1
    assert not [*watched.run(calls(TEXTS, drift_corpus.plain, 0.0, seed), 1_500)]
    found = [*watched.run(calls(TEXTS, CHANGES["twice as long"], 1.0, seed), 1_000)]
    assert found[0].call > 1_500
    assert "drift_input_chars" in {said.rule for said in found}
    spent = watched.pipeline.spent
    assert spent.series == 25 * (1 + 8) + 7 + 4, "24 means and quality of the whole and each slice, thumbs, the whole's"
    assert spent.updates == pytest.approx(watched.calls, rel=0.1)
    assert watched.cpu_s > 0 and watched.state_bytes < 300_000


def test_without_the_texts_no_text_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drift_corpus, "DATA", tmp_path)
    assert drift_text.parts(True) == {}
    assert drift_text_page.joined({}) is None


def test_text_of_several_runs_is_put_together() -> None:
    names = (*drift_text.OURS, *drift_text.STAGE2, *PEERS)
    delays: dict[str, dict[str, int | None]] = {name: dict.fromkeys(CHANGES, 40) | {"typos": None} for name in names}
    first = {kind: Said(40, "drift_input_chars", "tenant=a") for kind in CHANGES if kind != "typos"}
    ours = dict.fromkeys(drift_text.OURS, 1.0) | dict.fromkeys(drift_text.STAGE2, 0.5)
    quiet = drift_text.Quiet(
        calls=10_000,
        updates=dict.fromkeys(names, 9_000),
        allowed=ours,
        series=dict.fromkeys(names, 8),
        alarms=dict.fromkeys(names, 1),
        who={"bank/chars/": 1},
        cpu_s=dict.fromkeys(names, 2.0),
        state_bytes=dict.fromkeys(ours, 3_000),
    )
    parts: dict[str, drift_text.Part] = {"a": drift_text.Changed(delays, {}, first), "b": quiet, "c": quiet}
    parts |= {f"memory, {name}": 1.5 for name in names}
    found = drift_text_page.joined(parts | {"wealth": [("x", [1.0])]})
    assert found is not None
    assert found.found_share == found.stage2_found_share == pytest.approx(5 / 6)
    assert (found.false, found.allowed, found.stage2_false, found.stage2_allowed) == (2, 2.0, 4, 2.0), "both rates"
    text, firsts, without, _ = found.tables
    assert text.rows[0][:4] == (drift_text.WHOLE, "8", "40 (1)", "– (0)")
    assert firsts.rows[0] == ("unseen intents", "`input_chars` 1", "1 of 1")
    assert {row[0]: row[2:6] for row in without.rows}[drift_text.SLICED] == ("20,000", "18,000", "2", "2")
    assert [row[-1] for row in without.rows] == ["holds", "holds", "within chance", "within chance"]
    assert found.notes[-1].startswith("*Within chance*")
    quiet = quiet._replace(allowed=dict.fromkeys(ours, 1.0))
    found = drift_text_page.joined(parts | {"b": quiet, "c": quiet, "wealth": [("x", [1.0])]})
    assert found is not None and found.notes == [drift_text_page.NOTE, drift_text_page.NOTE_STAGE2], "no row needs it"


def test_parts_run_by_themselves_and_are_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    assert measured({"a long one": partial(pow, 2, 10), "b": partial(pow, 3, 2)}) == {"a long one": 1024, "b": 9}
    said = capfd.readouterr().err
    assert "begins: a long one" in said and "2 of 2" in said


def test_every_part_has_a_name_and_can_be_sent_to_another_process() -> None:
    for long in (False, True):
        for parts in drift.parts(long=long).values():
            assert all(pickle.dumps(part) for part in parts.values())


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
