"""CUSUM against its exact run lengths; drift notices on drawn windows."""

from __future__ import annotations

import random

import pytest

from streams.detectors.cusum import Cusum
from streams.detectors.drift import Drift
from streams.detectors.words import distance, unseen_share
from streams.windows.tally import Sums, Tally
from tests.unit.streams.drawing import START_MS
from tidemill.settings import DriftSettings

SETTINGS = DriftSettings()
Calls = list[tuple[float, list[int]]]


@pytest.mark.parametrize(("shift", "run_length"), [(0.0, 167.7), (0.5, 26.6), (1.0, 8.38), (2.0, 3.34)])
def test_cusum_has_its_known_run_lengths(shift: float, run_length: float) -> None:
    """Two-sided, k = 0.5, h = 4, N(shift, 1): within three standard errors of the exact value."""
    chance = random.Random(1)
    lengths = []
    for _ in range(400):
        cusum, n = Cusum(), 1
        while cusum.update(chance.gauss(shift, 1), 0, 4.0) is None:
            n += 1
        lengths.append(n)
    mean = sum(lengths) / len(lengths)
    deviation = (sum((n - mean) ** 2 for n in lengths) / (len(lengths) - 1)) ** 0.5
    assert mean == pytest.approx(run_length, abs=3 * deviation / len(lengths) ** 0.5)


def test_one_wild_value_is_no_change() -> None:
    assert Cusum().update(1e9, 0, 12.4) is None


def test_word_distances() -> None:
    same = {1: 5, 2: 5}
    assert distance(same, {1: 50, 2: 50}) == pytest.approx(0)
    assert distance({1: 1}, {2: 1}) == pytest.approx(1)
    assert distance({}, same) is None
    assert unseen_share({1: 3, 9: 1}, same) == 0.25
    assert unseen_share({}, same) is None


def calls(chance: random.Random, n: int, chars: float = 60.0, vocabulary: int = 200, shift: int = 0) -> Calls:
    """n calls of about ``chars`` characters, each of ten words from a vocabulary with a few frequent words."""
    return [
        (chance.gauss(chars, 15), [shift + min(int(chance.expovariate(8 / vocabulary)), vocabulary) for _ in range(10)])
        for _ in range(n)
    ]


def tally(of: Calls) -> Tally:
    total = Tally(requests=len(of), sampled=len(of))
    sums = total.moments.setdefault("input_chars", Sums())
    for chars, words in of:
        sums.add(1, chars, chars * chars)
        for word in words:
            total.words[word] = total.words.get(word, 0) + 1
    return total


class Watched:
    """A drift state and its clock: one window of five seconds after the other."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.drift = Drift()
        self.at_ms = START_MS
        self.found: list[tuple[str, str, int]] = []

    def windows(self, n: int, per_window: int = 25, champion: str = "p-v1", **kind: float | int) -> list[str]:
        """Feed n windows; the metrics that began to fire, and with a minus those that resolved."""
        told = []
        for _ in range(n):
            window = tally(calls(self.chance, per_window, **kind))  # type: ignore[arg-type]
            for metric, t in self.drift.judge("p", window, champion, self.at_ms, self.at_ms + 5_000, SETTINGS):
                told.append(metric if t.state == "firing" else f"-{metric}")
                if t.state == "firing":
                    assert t.alarm.change_time_ms is not None
                    self.found.append((metric, t.state, t.alarm.change_time_ms))
            self.at_ms += 5_000
        return told


@pytest.mark.parametrize("seed", range(3))
def test_steady_text_gives_no_notice(seed: int) -> None:
    assert Watched(seed).windows(200) == []


def test_more_or_less_traffic_of_the_same_text_gives_no_notice() -> None:
    watched = Watched(1)
    watched.windows(30)
    assert watched.windows(80, per_window=75) == []
    assert watched.windows(80, per_window=6) == []


def test_longer_text_is_noticed_with_its_time() -> None:
    watched = Watched(2)
    assert watched.windows(40) == []
    changed_ms = watched.at_ms
    assert "input_chars" in watched.windows(20, chars=100.0)
    times = {metric: at for metric, _, at in watched.found}
    assert times["input_chars"] == pytest.approx(changed_ms, abs=10_000)


def test_shorter_text_is_noticed_too() -> None:
    watched = Watched(3)
    watched.windows(40)
    assert watched.windows(20, chars=25.0) == ["input_chars"]


def test_new_words_are_noticed() -> None:
    watched = Watched(4)
    watched.windows(40)
    assert {"input_unseen_share", "input_word_distance"} <= set(watched.windows(20, shift=400))


def test_a_notice_resolves_when_the_text_is_back_and_a_new_reference_follows() -> None:
    watched = Watched(5)
    watched.windows(40)
    assert watched.windows(10, chars=100.0) == ["input_chars"]
    assert watched.windows(20) == ["-input_chars"]
    assert watched.drift.gathered or watched.drift.watches


def test_a_new_champion_closes_the_notice_and_its_text_becomes_the_reference() -> None:
    watched = Watched(6)
    watched.windows(40)
    assert "input_chars" in watched.windows(20, chars=100.0)
    assert watched.windows(1, chars=100.0, champion="p-v2")[0].startswith("-")
    assert watched.windows(100, chars=100.0, champion="p-v2") == []


def test_it_can_be_switched_off() -> None:
    drift = Drift()
    window = tally(calls(random.Random(7), 500))
    assert drift.judge("p", window, "p-v1", START_MS, START_MS + 5_000, DriftSettings(enabled=False)) == []
    assert drift == Drift()


@pytest.mark.parametrize("metric", ["output_empty", "output_refusal", "output_valid", "truncated_rate"])
def test_a_share_of_answers_that_rises_is_noticed_by_its_name(metric: str) -> None:
    chance, drift, found = random.Random(3), Drift(), []
    settings = DriftSettings(metrics=(metric,))
    for window in range(60):
        share = 0.04 if window < 40 else 0.3
        hits = sum(chance.random() < share for _ in range(25))
        whole = Tally(requests=25, sampled=25, moments={metric: Sums(25, float(hits), float(hits))})
        at_ms = START_MS + window * 5000
        found += [(window, *each) for each in drift.judge("p", whole, "p-v1", at_ms, at_ms + 5000, settings)]
    window, name, transition = found[0]
    assert len(found) == 1 and name == metric and transition.state == "firing" and 40 <= window < 50
