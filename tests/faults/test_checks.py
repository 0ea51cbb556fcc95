"""A checker that cannot fail proves nothing: each says no to each thing it must not miss."""

from __future__ import annotations

import random

import pytest

from tests.faults import checks, reference
from tests.faults.poison import poison
from tests.faults.record import Record
from tests.faults.reference import Arrived, Key, Place, Rules, Sums
from tests.faults.report import notes, table
from tests.faults.scenarios import FULL, SHORT, Scenario
from tests.faults.story import SOURCES, Plot, story
from tidemill.errors import Quarantine
from tidemill.events import InferenceResponse

START_MS = 1_763_800_000_000
RULES = Rules(5_000, 5_000, 60_000, {"schedule": "exact_match", "support": "exact_match"})
WANTED = {Place("t", 0, offset): f"row {offset}" for offset in range(5)}
KEY = Key("schedule", "schedule-v1", "champion", "client", "e2e_ms", START_MS)
ALARM = ("schedule", "quality", "firing")


def log(plot: Plot) -> dict[Place, Arrived]:
    """The story as the broker would hold it, on one partition a topic."""
    found: dict[Place, Arrived] = {}
    for offset, said in enumerate(one for one in story(plot, START_MS) if one.valid):
        event = said.topic.decoder()(said.value)
        found[Place(said.topic.name, 0, offset)] = Arrived(event, START_MS + said.at_ms)
    return found


def test_rows() -> None:
    rows = list(WANTED.items())
    other = (Place("t", 1, 0), "aborted")
    assert checks.rows(WANTED, rows) == (0, 0, 0, 0)
    assert checks.rows(WANTED, rows[1:]).missing == 1
    assert checks.rows(WANTED, [*rows, rows[2]]).duplicates == 1
    assert checks.rows(WANTED, [*rows, other]).unknown == 1
    assert checks.rows(WANTED, [*rows[1:], (rows[0][0], "something else")]).changed == 1
    assert checks.rows(WANTED, [*rows[1:], rows[2]])[:2] == (1, 1), "a count alone would not see this"


def test_letters() -> None:
    wanted = [("t", b"k", b"{"), ("t", b"l", None)]
    assert checks.letters(wanted, wanted) == (0, 0, 0)
    assert checks.letters(wanted, wanted[1:]).missing == 1
    assert checks.letters(wanted, [("t", b"k", b"{ "), wanted[1]]) == (1, 1, 0), "one byte more is another letter"
    assert checks.letters(wanted, [*wanted, wanted[0]]) == (0, 0, 1), "twice is allowed, and counted"


@pytest.mark.parametrize("other", [Sums(9, 5.0, 3.0), Sums(10, 5.1, 3.0), Sums(10, 5.0, 3.1)])
def test_windows(other: Sums) -> None:
    wanted = {KEY: Sums(10, 5.0, 3.0)}
    assert checks.windows(wanted, {KEY: Sums(10, 5.0 + 1e-12, 3.0)}) == []
    assert checks.windows(wanted, {KEY: other}) == [KEY]
    assert checks.windows(wanted, {}) == [KEY]
    assert checks.windows({}, wanted) == [KEY]


def test_alarms() -> None:
    assert checks.alarms([ALARM], [("a", ALARM)]) == (0, 0, 0)
    assert checks.alarms([ALARM], []).lost == 1
    assert checks.alarms([ALARM], [("a", ALARM), ("b", ALARM)]).doubled == 1
    assert checks.alarms([ALARM], [("a", ALARM), ("c", ("support", "latency", "firing"))]).doubled == 1
    assert checks.alarms([ALARM], [("a", ALARM), ("a", ALARM)]) == (0, 0, 1)


def test_webhooks() -> None:
    assert checks.webhooks(["a", "b"], {"a": 1, "b": 1}) == (0, 0, 0)
    assert checks.webhooks(["a", "b"], {"a": 1}).lost == 1
    assert checks.webhooks(["a"], {"a": 1, "b": 1}).unknown == 1
    assert checks.webhooks(["a"], {"a": 3}).repeated == 2


def test_longest_lag() -> None:
    arrivals = {Place("t", 0, 0): 1_000, Place("t", 0, 5): 2_000, Place("t", 1, 0): 2_500}
    seen = [(1_500, "t", 0, 0), (2_800, "t", 0, 4), (4_000, "t", 0, 5), (4_000, "t", 1, 0)]
    assert checks.longest_lag_s(arrivals, seen) == 2.0
    assert checks.longest_lag_s(arrivals, seen[:3]) is None, "never seen is not zero"


def test_the_reference_notices_one_answer_more_less_or_other() -> None:
    events = log(Plot(seconds=10))
    clean = reference.expected(events, RULES, {})
    place, answer = next((p, a) for p, a in events.items() if isinstance(a.event, InferenceResponse))
    without = {p: a for p, a in events.items() if p != place}
    assert len(checks.windows(clean, reference.expected(without, RULES, {}))) > 5
    twice = {**events, place._replace(offset=99_999): answer}
    assert len(checks.windows(clean, reference.expected(twice, RULES, {}))) > 5
    assert checks.windows(clean, reference.expected(twice, RULES, {(place.topic, 0): [(0, 99_999)]})) == []


def test_the_reference_caps_clocks_ahead_and_leaves_out_hours_behind() -> None:
    events = log(Plot(seconds=40, misdated=0.2))
    starts = {key.start_ms for key in reference.expected(events, RULES, {})}
    assert min(starts) >= START_MS - RULES.size_ms
    assert max(starts) <= START_MS + 40_000 + RULES.skew_ms + 1_000
    answers = sum(s.n for key, s in reference.expected(events, RULES, {}).items() if key.metric == "answers")
    assert answers < sum(isinstance(a.event, InferenceResponse) for a in events.values())


def test_poison_is_never_an_event_and_always_other_bytes() -> None:
    noise = random.Random(3)
    samples = {one.topic.name: one.value or b"" for one in story(Plot(seconds=2), START_MS)}
    for topic in SOURCES:
        made = [poison(samples[topic.name], number, noise) for number in range(400)]
        for value in made:
            with pytest.raises(Quarantine):
                topic.decoder()(value)
        values = [value for value in made if value is not None]
        assert len(values) == len(set(values)) and len(values) < len(made)


@pytest.mark.parametrize("scenario", [SHORT, *FULL], ids=lambda scenario: scenario.name)
def test_the_seed_decides_and_faults_fall_into_the_story(scenario: Scenario) -> None:
    first, again, other = (scenario.faults(random.Random(seed), scenario.plot) for seed in (1, 1, 2))
    assert first == again and (first != other or not first)
    assert all(0 < fault.at_s < scenario.plot.seconds for fault in first)
    assert story(Plot(seed=1), START_MS) == story(Plot(seed=1), START_MS) != story(Plot(seed=2), START_MS)


def test_the_page_says_what_did_not_hold() -> None:
    good = Record("calm", "nothing", rows=10, lag_s=1.2)
    bad = Record("calm", "nothing", seed=1, rows=10, missing=3, alarms_repeated=1, lag_s=4.0)
    assert "| calm | nothing | 2 | 0 | 20 | 3 | 0 | 0 | 0 | 0 | 0 | 4.0 |" in table([good, bad])
    assert "never seen" in table([good, Record("calm", "nothing")])
    assert "- calm, seed 1: missing 3" in notes([good, bad])
    assert notes([good]) == [
        "Said again under the same id, which their readers know: 0 dead letters, 0 threshold events, 0 webhooks."
    ]
