"""Figures that move with the hour: no notices of their own making, real shifts found, in the metric's own unit."""

from __future__ import annotations

import random
from math import pi, sin

import msgspec
import pytest

from streams.alarms import Transition
from streams.detectors.budget import Budget
from streams.detectors.drift import Drift
from streams.detectors.season import Period
from streams.detectors.watch import SEASON_CHANGED, Where
from streams.windows.tally import Sums, Tally
from tests.unit.streams.drawing import START_MS
from tidemill.settings import DriftSettings

SETTINGS = DriftSettings(metrics=("input_chars", "error_rate", "input_unseen_share", "input_word_distance"))
WINDOW_S, DAY_S = 240, 86_400
A_DAY = DAY_S // WINDOW_S


class Watched:
    """A drift state, its budget and its clock: one window of four minutes after the other, encoded in between."""

    def __init__(self, seed: int, season: Period | None = "day") -> None:
        self.chance = random.Random(seed)
        self.season = season
        self.drift = Drift()
        self.budget = Budget(604_800.0, share=0.3, longest=60)
        self.at_ms = START_MS
        self.fired: list[Transition] = []

    def usual(self, at_ms: int) -> float:
        """Characters of a call; the share of failed answers is a thousandth of it."""
        return 60 + 25 * sin(2 * pi * at_ms / 1000 / DAY_S)

    def window(self, calls: int, times: float, shift: int, failing: float) -> Tally:
        chance, usual = self.chance, self.usual(self.at_ms)
        chars = [chance.gauss(1, 0.25) * times * usual for _ in range(calls)]
        failed = sum(chance.random() < failing + usual / 1000 for _ in chars)
        vocabulary = round(2 * usual)
        words: dict[int, int] = {}
        for _ in range(6 * calls):
            word = shift + min(int(chance.expovariate(8 / vocabulary)), vocabulary)
            words[word] = words.get(word, 0) + 1
        return Tally(
            requests=calls,
            sampled=calls,
            answers=calls,
            outcomes={"ok": calls - failed, "error": failed},
            moments={"input_chars": Sums(calls, sum(chars), sum(c * c for c in chars))},
            words=words,
        )

    def windows(
        self,
        n: int,
        calls: int = 25,
        times: float = 1.0,
        shift: int = 0,
        failing: float = 0.0,
        champion: str = "p-v1",
        settings: DriftSettings = SETTINGS,
    ) -> list[str]:
        """Feed n windows; what begins, and with a minus what ends."""
        said = []
        for _ in range(n):
            self.budget.tick(WINDOW_S)
            end_ms = self.at_ms + WINDOW_S * 1000
            where = Where("p", "", self.at_ms, end_ms, self.budget.run_length, season=self.season)
            window = self.window(calls, times, shift, failing)
            for metric, found in self.drift.judge(
                window, self.drift.figures(window), champion, settings, self.budget, where
            ):
                for _rule, transition in found:
                    said.append(metric if transition.state == "firing" else f"-{metric}")
                    self.fired.append(transition)
            self.drift = msgspec.msgpack.decode(msgspec.msgpack.encode(self.drift), type=Drift)
            self.at_ms = end_ms
        return said


@pytest.mark.parametrize("seed", range(3))
def test_a_wave_of_the_day_is_noticed_without_a_season_and_not_with_one(seed: int) -> None:
    assert "input_chars" in Watched(seed, None).windows(2 * A_DAY)
    assert Watched(seed).windows(6 * A_DAY) == []


def test_a_shift_on_the_third_day_is_noticed_in_characters() -> None:
    watched = Watched(4)
    assert watched.windows(2 * A_DAY + 100) == []
    changed_ms = watched.at_ms
    assert watched.windows(30, times=1.4) == ["input_chars"]
    alarm = watched.fired[0].alarm
    usual = watched.usual(alarm.started_ms)
    assert alarm.season == "day"
    assert alarm.reference == pytest.approx(usual, rel=0.1)
    assert alarm.value == pytest.approx(1.4 * usual, rel=0.15)
    assert usual < alarm.threshold < 1.4 * usual
    assert alarm.change_time_ms == pytest.approx(changed_ms, abs=2 * WINDOW_S * 1000)


def test_a_notice_stays_for_days_and_ends_when_the_hour_is_as_it_was() -> None:
    watched = Watched(5)
    watched.windows(2 * A_DAY + 100)
    assert watched.windows(3 * A_DAY, times=1.4) == ["input_chars"]
    assert watched.windows(10) == ["-input_chars"]
    assert watched.windows(A_DAY) == []


def test_shares_of_few_calls_and_words_are_watched_too() -> None:
    watched = Watched(6)
    assert watched.windows(3 * A_DAY) == []
    assert watched.windows(30, failing=0.4) == ["error_rate"]
    assert watched.windows(10) == ["-error_rate"]
    assert set(watched.windows(60, shift=400)) == {"input_unseen_share", "input_word_distance"}


def test_a_new_champion_with_longer_text_moves_all_hours() -> None:
    watched = Watched(7)
    watched.windows(3 * A_DAY)
    assert watched.windows(1, times=1.5) == []
    assert watched.windows(3 * A_DAY, times=1.5, champion="p-v2") == []
    assert watched.windows(30, times=2.2, champion="p-v2") == ["input_chars"]


def test_more_traffic_makes_larger_batches_and_no_notice() -> None:
    watched = Watched(8)
    watched.windows(2 * A_DAY)
    assert watched.windows(2 * A_DAY, calls=80) == []
    assert watched.windows(A_DAY, calls=40) == []


def test_who_waits_is_counted() -> None:
    watched = Watched(9)
    watched.windows(A_DAY)
    assert watched.drift.waiting == 2, "words have no reference before an hour of calls"
    watched.windows(A_DAY)
    assert watched.drift.waiting == 0
    assert Watched(9, None).windows(10) == [] and Watched(9, None).drift.waiting == 0


@pytest.mark.parametrize(("before", "after"), [(None, "day"), ("day", None), ("day", "week"), ("week", "day")])
def test_another_season_begins_anew(before: Period | None, after: Period | None) -> None:
    watched = Watched(10, before)
    watched.windows(3 * A_DAY)
    wealth = watched.drift.watches["input_chars"].detector
    watched.season = after
    watched.windows(1)
    watch = watched.drift.watches["input_chars"]
    assert watched.drift.season == after
    assert (watch.level is None) == (after is None) and bool(watch.hours) == (after is not None)
    assert len(watch.recent) == 0 and watch.detector and wealth


def test_another_season_ends_what_is_noticed_with_the_reason() -> None:
    watched = Watched(11)
    watched.windows(2 * A_DAY + 100)
    assert watched.windows(30, times=1.4) == ["input_chars"]
    watched.season = None
    assert watched.windows(1) == ["-input_chars"]
    assert watched.fired[-1].reason == SEASON_CHANGED
