"""Slices under watch: a tenant's change is noticed under its name, on the one budget, and what is dropped ends."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec

from streams.alarms import Transition
from streams.detectors.budget import Budget, Series
from streams.detectors.slice_drift import SliceDrift
from streams.detectors.watch import GONE, Where
from streams.windows.tally import Sums, Tally
from tests.unit.streams.drawing import START_MS, Meter, Reader, deployment, of_slice, requests
from tidemill.settings import DriftSettings

SETTINGS = DriftSettings(metrics=("output_chars", "error_rate", "input_unseen_share"))
NAMES = frozenset({"tenant=acme", "tenant=globex", "tenant=idle"})
WINDOW_S = 5


class Watched:
    """The drift of some tenants, window after window; the state is encoded and read back each time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.drift = SliceDrift()
        self.budget = Budget(604_800.0, share=0.3, longest=60)
        self.at_ms = START_MS
        self.ends: list[Transition] = []

    def tally(self, chars: float, n: int = 25) -> Tally:
        values = [self.chance.gauss(chars, 15) for _ in range(n)]
        moments = {"output_chars": Sums(n, sum(values), sum(v * v for v in values))}
        failed = sum(self.chance.random() < 0.02 for _ in values)
        return Tally(answers=n, sampled_answers=n, outcomes={"ok": n - failed, "error": failed}, moments=moments)

    def take(
        self, slices: Mapping[str, Tally], champion: str = "p-v1", settings: DriftSettings = SETTINGS
    ) -> list[tuple[str, str, str]]:
        """(slice, rule, state) of all that begins or ends."""
        self.budget.tick(WINDOW_S)
        where = Where("p", "", self.at_ms, self.at_ms + WINDOW_S * 1000, self.budget.run_length)
        told: list[tuple[str, str, str]] = []
        for at, found in self.drift.judge(slices, NAMES, champion, settings, self.budget, where):
            for rule, transition in found:
                told.append((at.slice, rule, transition.state))
                self.ends.append(transition)
        self.drift = msgspec.msgpack.decode(msgspec.msgpack.encode(self.drift), type=SliceDrift)
        self.at_ms += WINDOW_S * 1000
        return told

    def windows(self, n: int, **chars: float) -> list[tuple[str, str, str]]:
        """n windows in which each tenant answers with so many characters."""
        return [
            told
            for _ in range(n)
            for told in self.take({f"tenant={name}": self.tally(mean) for name, mean in chars.items()})
        ]


def test_a_change_of_one_slice_is_noticed_under_its_name() -> None:
    watched = Watched(1)
    assert watched.windows(200, acme=60.0, globex=200.0) == []
    told = watched.windows(60, acme=60.0, globex=240.0)
    assert told == [("tenant=globex", "drift_output_chars", "firing")]
    (notice,) = watched.ends
    assert notice.alarm.reference is not None and 195 < notice.alarm.reference < 205
    assert watched.windows(60, acme=60.0, globex=200.0) == [("tenant=globex", "drift_output_chars", "resolved")]


def test_slices_share_the_budget_and_words_are_not_theirs() -> None:
    watched = Watched(2)
    watched.windows(100, acme=60.0, globex=200.0)
    series = {Series("p", metric, name) for metric in ("output_chars", "error_rate") for name in NAMES}
    assert set(watched.budget.series) == {each for each in series if each.slice != "tenant=idle"}
    assert sum(map(watched.budget.weight, watched.budget.series)) <= 0.3 + 1e-9


def test_some_metrics_are_watched_over_all_calls_alone() -> None:
    settings = DriftSettings(metrics=("output_chars", "error_rate"), whole_only=("error_rate",))
    watched = Watched(7)
    for _ in range(100):
        watched.take({"tenant=acme": watched.tally(60.0)}, settings=settings)
    assert watched.budget.series == [Series("p", "output_chars", "tenant=acme")]
    assert "output_empty" in DriftSettings().metrics and "output_empty" not in DriftSettings().by_slice
    assert {"input_chars", "output_chars", "error_rate", "output_tokens", "cost"} <= {*DriftSettings().by_slice}


def test_other_and_slices_without_a_name_are_not_watched() -> None:
    watched = Watched(3)
    watched.windows(100, other=60.0, nobody=60.0)
    assert watched.drift.watches == {} and not watched.budget.series


def test_what_is_no_longer_watched_ends_and_gives_its_part_back() -> None:
    watched = Watched(4)
    watched.windows(200, acme=60.0)
    assert watched.windows(60, acme=90.0) == [("tenant=acme", "drift_output_chars", "firing")]
    gone = watched.take({}, settings=DriftSettings(metrics=("error_rate",)))
    assert gone == [("tenant=acme", "drift_output_chars", "resolved")] and watched.ends[-1].reason == GONE
    assert Series("p", "output_chars", "tenant=acme") not in watched.budget.series
    watched.take({}, settings=DriftSettings(enabled=False))
    assert watched.drift.watches == {} and not watched.budget.series


def test_a_new_champion_begins_a_new_reference() -> None:
    watched = Watched(5)
    watched.windows(200, acme=60.0)
    watched.windows(60, acme=90.0)
    assert watched.take({}, champion="p-v2") == [("tenant=acme", "drift_output_chars", "resolved")]
    told = [t for _ in range(200) for t in watched.take({"tenant=acme": watched.tally(90.0)}, champion="p-v2")]
    assert told == []


def test_a_tenants_notice_goes_out_under_its_name_and_survives_a_restart() -> None:
    chance, events = random.Random(6), []
    settings = deployment(slices=["tenant"], drift={"metrics": ["input_chars"]})
    meter, reader = Meter(), Reader(settings)
    for window in range(260):
        cells = [
            requests(window * 10 + 1, 25, chars=[chance.gauss(mean, 15) for _ in range(25)])
            for mean in (60.0, 90.0 if window >= 200 else 60.0)
        ]
        slices = [of_slice(f"tenant={name}", cell) for name, cell in zip(("acme", "globex"), cells, strict=True)]
        events += reader.take(meter.partial(cells, slices=slices), meter.progress(window * 10 + 15)).events
        if window % 50 == 0:
            reader = Reader(settings, dict(reader.fold.changed()), reader.offset)
    first = next(event for event in events if event.data.slice)
    assert (first.subject, first.data.slice) == ("schedule//input_chars/tenant=globex", "tenant=globex")
    assert "of tenant=globex rose from 6" in first.data.summary
    assert not any(event.data.slice == "tenant=acme" for event in events)
