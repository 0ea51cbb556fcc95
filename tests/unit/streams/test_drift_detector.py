"""CUSUM against its exact run lengths; drift notices on drawn windows."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from streams.alarms import Transition
from streams.detectors.baseline import MOST_BATCHES, size_for
from streams.detectors.budget import Budget
from streams.detectors.cusum import Cusum
from streams.detectors.drift import Drift
from streams.detectors.watch import GONE, Where
from streams.detectors.words import distance, unseen_share
from streams.windows.tally import Sums, Tally
from tests.unit.streams.drawing import START_MS
from tidemill.settings import DriftSettings

SETTINGS = DriftSettings()
RUN_LENGTH = 604_800.0
WINDOW_S = 5
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
    squares = sum(chars * chars for chars, _ in of)
    total.moments["input_chars"] = Sums(len(of), sum(chars for chars, _ in of), squares)
    for _, words in of:
        for word in words:
            total.words[word] = total.words.get(word, 0) + 1
    return total


class Watched:
    """A drift state, its budget and its clock: one window of five seconds after the other."""

    def __init__(self, seed: int, run_length: float = RUN_LENGTH) -> None:
        self.chance = random.Random(seed)
        self.drift = Drift()
        self.budget = Budget(run_length, share=0.3, longest=60)
        self.at_ms = START_MS
        self.fired: dict[str, Transition] = {}

    def take(self, window: Tally, champion: str = "p-v1", settings: DriftSettings = SETTINGS) -> list[str]:
        """Feed one window; the metrics that began to fire, with a minus those that resolved."""
        told = []
        self.budget.tick(WINDOW_S)
        where = Where("p", "", self.at_ms, self.at_ms + WINDOW_S * 1000, self.budget.run_length)
        for metric, said in self.drift.judge(
            window, self.drift.figures(window), champion, settings, self.budget, where
        ):
            for rule, t in said:
                told.append(rule.removeprefix("drift_") if t.state == "firing" else "-" + rule.removeprefix("drift_"))
                self.fired[metric] = t
        self.drift = msgspec.msgpack.decode(msgspec.msgpack.encode(self.drift), type=Drift)
        self.at_ms += WINDOW_S * 1000
        return told

    def windows(self, n: int, per_window: int = 25, champion: str = "p-v1", **kind: float | int) -> list[str]:
        """Feed n windows of drawn calls."""
        told = []
        for _ in range(n):
            told += self.take(tally(calls(self.chance, per_window, **kind)), champion)  # type: ignore[arg-type]
        return told


@pytest.mark.parametrize("seed", range(3))
def test_steady_text_gives_no_notice(seed: int) -> None:
    assert Watched(seed).windows(400) == []


def test_a_notice_needs_about_one_deviation_of_a_batch() -> None:
    """A batch's mean deviates by three characters; what eight batches say of that is off by a quarter, either way."""

    def noticed(chars: float, seed: int) -> bool:
        watched = Watched(seed)
        watched.windows(60)
        return "input_chars" in watched.windows(120, chars=chars)

    assert sum(noticed(60 + 5, seed) for seed in range(10)) >= 8
    assert sum(noticed(60 + 1, seed) for seed in range(10)) == 0


def test_more_or_less_traffic_of_the_same_text_gives_no_notice() -> None:
    watched = Watched(1)
    watched.windows(40)
    assert watched.windows(200, per_window=75) == []
    assert watched.windows(400, per_window=6) == []
    assert watched.windows(100, per_window=75) == []


def test_longer_text_is_noticed_with_its_time_and_evidence() -> None:
    watched = Watched(2)
    assert watched.windows(100) == []
    changed_ms = watched.at_ms
    assert watched.windows(30, chars=100.0) == ["input_chars"]
    alarm = watched.fired["input_chars"].alarm
    assert alarm.change_time_ms == pytest.approx(changed_ms, abs=10_000)
    assert alarm.change_from_ms is not None and alarm.change_until_ms is not None
    assert alarm.change_from_ms <= changed_ms <= alarm.change_until_ms
    assert alarm.statistic is not None and alarm.statistic >= RUN_LENGTH == alarm.statistic_limit
    assert alarm.reference == pytest.approx(60, abs=2) and 70 < alarm.threshold < 90
    assert watched.budget.spend.alarms == 1


def test_shorter_text_is_noticed_too() -> None:
    watched = Watched(3)
    watched.windows(100)
    assert watched.windows(30, chars=25.0) == ["input_chars"]


def test_new_words_are_noticed_and_known_ones_coming_back_are_not() -> None:
    watched = Watched(4)
    watched.windows(100)
    assert set(watched.windows(40, shift=400)) == {"input_unseen_share", "input_word_distance"}


def test_a_small_change_is_no_notice_and_becomes_the_past() -> None:
    watched = Watched(8)
    watched.windows(200)
    assert watched.windows(400, chars=62.0) == []


def test_a_notice_resolves_when_the_text_is_back_and_the_reference_stays() -> None:
    watched = Watched(5)
    watched.windows(100)
    assert watched.windows(30, chars=100.0) == ["input_chars"]
    reference = watched.fired["input_chars"].alarm.reference
    assert watched.windows(20) == ["-input_chars"]
    assert watched.windows(100) == []
    assert watched.windows(30, chars=100.0) == ["input_chars"], "and is found a second time"
    assert watched.fired["input_chars"].alarm.reference == reference


def test_a_new_champion_closes_the_notice_and_its_text_becomes_the_reference() -> None:
    watched = Watched(6)
    watched.windows(100)
    assert "input_chars" in watched.windows(30, chars=100.0)
    assert watched.windows(1, chars=100.0, champion="p-v2") == ["-input_chars"]
    assert watched.windows(200, chars=100.0, champion="p-v2") == []


def test_figures_of_answers_are_watched_as_means_of_an_answer() -> None:
    watched, chance = Watched(7), random.Random(7)

    def answered(n: int, failing: float, tokens: int) -> Tally:
        failed = sum(chance.random() < failing for _ in range(n))
        made = sum(chance.randrange(tokens // 2, tokens * 3 // 2) for _ in range(n))
        outcomes = {"ok": n - failed, "error": failed}
        return Tally(answers=n, outcomes=outcomes, output_tokens=made, cost_micros=3 * made, priced=n)

    for _ in range(200):
        assert watched.take(answered(chance.randrange(10, 60), 0.02, 40)) == []
    told = [metric for _ in range(60) for metric in watched.take(answered(chance.randrange(10, 60), 0.02, 60))]
    assert sorted(told) == ["cost", "output_tokens"]
    told = [metric for _ in range(60) for metric in watched.take(answered(chance.randrange(10, 60), 0.3, 60))]
    assert told == ["error_rate"]
    assert watched.fired["cost"].alarm.reference == pytest.approx(40 * 3e-6, rel=0.1)


@pytest.mark.parametrize(
    "metric", ["output_empty", "output_refusal", "output_valid", "truncated_rate", "other_finish_rate"]
)
def test_a_share_of_answers_is_watched_by_its_name(metric: str) -> None:
    watched, settings = Watched(12), DriftSettings(metrics=(metric,))

    def window(share: float) -> Tally:
        hits = float(sum(watched.chance.random() < share for _ in range(25)))
        return Tally(requests=25, sampled=25, answers=25, sampled_answers=25, moments={metric: Sums(25, hits, hits)})

    for _ in range(200):
        assert watched.take(window(0.04), settings=settings) == []
    assert metric in [told for _ in range(60) for told in watched.take(window(0.3), settings=settings)]


@pytest.mark.parametrize(
    ("metric", "size"), [("output_empty", 1.0), ("other_finish_rate", 1.0), ("input_context_chars", 400.0)]
)
@pytest.mark.parametrize("seed", range(8))
def test_what_is_nearly_never_there_is_no_change_until_it_comes_often(metric: str, size: float, seed: int) -> None:
    watched, settings = Watched(seed), DriftSettings(metrics=(metric,))
    stray = {*watched.chance.sample(range(20_000), 10)}

    def windows(n: int, hit: Callable[[int], bool]) -> list[str]:
        told = []
        for window in range(n):
            hits = sum(hit(25 * window + at) for at in range(25))
            sums = {metric: Sums(25, size * hits, size * size * hits)}
            tally = Tally(requests=25, sampled=25, answers=25, sampled_answers=25, moments=sums)
            told += watched.take(tally, settings=settings)
        return told

    assert windows(800, stray.__contains__) == []
    assert windows(80, lambda _: watched.chance.random() < 0.05)[:1] == [metric]


def test_batches_that_hang_together_are_warned_of() -> None:
    watched, chance, level, told = Watched(9), random.Random(9), 0.0, []
    for _ in range(600):
        level = 0.9 * level + chance.gauss(0, 4)
        told += watched.take(tally(calls(chance, 25, chars=60 + level)))
    assert "dependent_input_chars" in told
    warned = watched.fired["input_chars"].alarm.warning
    assert "autocorrelation" in warned


def test_it_can_be_switched_off_and_what_is_no_longer_watched_is_closed() -> None:
    watched = Watched(10)
    watched.windows(100)
    assert watched.windows(30, chars=100.0) == ["input_chars"]
    window = tally(calls(watched.chance, 25, chars=100.0))
    assert watched.take(window, settings=DriftSettings(metrics=("output_chars",))) == ["-input_chars"]
    assert watched.fired["input_chars"].reason == GONE
    off = Watched(11)
    assert off.take(window, settings=DriftSettings(enabled=False)) == []
    assert off.drift == Drift()
    assert off.budget.spend.series == 0


def test_batches_grow_so_that_busy_windows_fill_one_each() -> None:
    assert size_for(25, 50) == 25
    grown = size_for(25, 51)
    assert grown == 39
    assert size_for(grown, 51 + 51 // 2) == grown
    for n in range(51, 2_000, 7):
        assert size_for(25, n) <= n <= MOST_BATCHES * size_for(25, n)
