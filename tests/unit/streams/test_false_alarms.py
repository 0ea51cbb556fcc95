"""The false-alarm budget through the fold: the promise for a whole deployment, its clock, and what is seen of it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client import REGISTRY, generate_latest

from streams.app.measures import Measures
from streams.detectors.budget import Series
from streams.false_alarms import EMPTY, FalseAlarms, share_of
from tests.unit.streams.drawing import START_MS, Meter, Reader, answers, requests, score
from tidemill.clock import ManualClock
from tidemill.events import Partial, Progress, ThresholdEvent
from tidemill.io.spend import said
from tidemill.settings import Settings
from tidemill.topics import PARTIALS

PIPELINES = ("schedule", "support", "search")


def deployment(updates: int = 604_800, **pipeline: object) -> Settings:
    made = {name: {"engine": "e", "champion": f"{name}-v1"} | pipeline for name in PIPELINES}
    return Settings.model_validate(
        {
            "deployment": "drawn",
            "max_false_alarms": f"1 per {updates} clock updates",
            "engines": {"e": {}},
            "windows": {"size_s": 5, "lateness_s": 5},
            "pipelines": made,
        }
    )


class Traffic:
    """A second of calls, answers and scores of each pipeline after the other, drawn alike until told otherwise."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.meters = {name: Meter(name) for name in PIPELINES}
        self.at_s = 0
        self.quality = dict.fromkeys(PIPELINES, 0.9)
        self.chars = dict.fromkeys(PIPELINES, 60.0)

    def seconds(self, n: int) -> Iterator[Partial | Progress]:
        for _ in range(n):
            for partition, (name, meter) in enumerate(self.meters.items()):
                yield self._second(name, meter, partition)
            self.at_s += 1
            yield self.passed()

    def passed(self) -> Progress:
        """All is read up to now."""
        meter = self.meters["schedule"]
        for partition, name in enumerate(PIPELINES):
            meter.positions[partition] = self.meters[name].positions.get(partition, 0)
        return meter.progress(self.at_s + 1, partitions=range(len(PIPELINES)))

    def _second(self, name: str, meter: Meter, partition: int) -> Partial:
        chance, version = self.chance, f"{name}-v1"
        lengths = [chance.lognormvariate(0, 0.4) * self.chars[name] for _ in range(6)]
        words = {chance.randrange(200): 1 for _ in range(40)}
        failed = sum(chance.random() < 0.03 for _ in range(6))
        scores = [
            score(
                self.at_s + i / 2,
                float(chance.random() < self.quality[name]),
                feedback_id=f"{name}-{self.at_s}-{i}",
                model_version=version,
            )
            for i in range(2)
        ]
        cells = [
            requests(self.at_s, 6, chars=lengths, words=words),
            answers(self.at_s, [5.0] * 6, errors=failed, version=version, cost_micros=int(sum(lengths)), priced=6),
        ]
        return meter.partial(cells, scores, partition)


def firing(events: list[ThresholdEvent]) -> list[tuple[str, str]]:
    return [(e.data.pipeline, e.data.rule) for e in events if e.data.state == "firing" and e.data.kind != "system"]


def test_without_a_change_a_deployment_raises_no_more_alarms_than_its_budget_allows() -> None:
    """With N so small that many are allowed: 4 times 1,200 of 200 clock updates, three parts of four."""
    alarms, allowed = 0, 0.0
    for seed in range(4):
        reader, traffic = Reader(deployment(200)), Traffic(seed)
        alarms += len(firing(reader.take(*traffic.seconds(1_200)).events))
        allowed += sum(fold.spent.allowed for fold in reader.fold)
        assert sum(fold.spent.alarms for fold in reader.fold) <= alarms
        for fold in reader.fold:
            assert fold.spent.granted <= fold.spent.updates / 4 + 1e-6
    assert allowed == pytest.approx(4 * 1_200 / 200 * 3 / 4, rel=0.02)
    assert alarms <= allowed


def test_a_fall_and_a_shift_are_found_on_the_default_budget_and_nothing_else_is_said() -> None:
    reader, traffic = Reader(deployment()), Traffic(7)
    assert reader.take(*traffic.seconds(600)).events == []
    traffic.quality["schedule"], traffic.chars["support"] = 0.3, 100.0
    found = reader.take(*traffic.seconds(200)).events
    assert set(firing(found)) == {("schedule", "quality"), ("support", "drift_input_chars"), ("support", "drift_cost")}
    fallen = next(e for e in found if e.data.rule == "quality")
    assert fallen.time_ms - START_MS - 600_000 <= 30_000
    assert fallen.data.change_time_ms == pytest.approx(START_MS + 600_000, abs=5_000)
    assert fallen.data.statistic is not None and fallen.data.statistic >= 604_800 == fallen.data.statistic_limit
    notice = next(e for e in found if e.data.rule == "drift_cost")
    assert (notice.data.kind, notice.data.severity) == ("cost", "ticket")
    assert "cost per answer rose from" in notice.data.summary


def test_an_idle_week_gives_no_alarm_and_its_mass_to_nobody() -> None:
    reader, traffic = Reader(deployment(1_000)), Traffic(8)
    before = firing(reader.take(*traffic.seconds(300)).events)
    traffic.at_s += 7 * 24 * 3600
    assert firing(reader.take(traffic.passed()).events) == before == []
    granted = {fold: fold.spent.granted for fold in reader.fold}
    found = firing(reader.take(*traffic.seconds(60)).events)
    assert found == []
    for fold in reader.fold:
        assert fold.spent.updates > 7 * 24 * 3600
        assert fold.spent.granted - granted[fold] <= (60 + 60) / 4


def test_the_parts_of_all_pipelines_add_up_to_one() -> None:
    settings = deployment()
    announced = sum(share_of(name, settings) for name in PIPELINES)
    strangers = settings.windows.max_unknown_pipelines * PARTIALS.partitions
    assert announced == 3 / 4
    assert announced + strangers * share_of("stranger", settings) <= 1


def test_the_clock_begins_with_the_first_watermark_and_goes_on_from_a_state() -> None:
    watched = Series("schedule", "quality")
    first = FalseAlarms("schedule", deployment(), EMPTY)
    budget = first.open(START_MS)
    budget.admit(watched)
    first.close(budget)
    assert first.spend.updates == 0, "no jump from 1970"
    second = FalseAlarms("schedule", deployment(), first.raw)
    for each in (first, second):
        budget = each.open(START_MS + 10_999)
        assert budget.grant(watched) == pytest.approx(10 / 4)
        each.close(budget)
    assert first.raw == second.raw


def test_a_pipeline_more_in_the_settings_changes_what_is_granted_from_then_on() -> None:
    watched = Series("schedule", "quality")
    first = FalseAlarms("schedule", deployment(), EMPTY)
    budget = first.open(START_MS)
    budget.admit(watched)
    first.close(budget)
    budget = first.open(START_MS + 10_000)
    first.close(budget)
    fewer = deployment().model_copy(update={"pipelines": {"schedule": deployment().pipelines["schedule"]}})
    budget = FalseAlarms("schedule", fewer, first.raw).open(START_MS + 20_000)
    assert budget.grant(watched) == pytest.approx(10 / 4 + 10 / 2)


def test_a_restart_anywhere_changes_no_byte() -> None:
    whole, traffic = Reader(deployment(300)), Traffic(9)
    messages = [*traffic.seconds(300)]
    said = whole.take(*messages)
    parts, out = Reader(deployment(300)), []
    for begin in range(0, len(messages), 97):
        out += parts.take(*messages[begin : begin + 97]).events
        parts = Reader(deployment(300), dict(parts.fold.changed()), parts.offset)
    assert out == said.events
    ours, theirs = ({f.spent for f in reader.fold} for reader in (whole, parts))
    assert ours == theirs
    states = dict(whole.fold.changed())
    again = Reader(deployment(300), states)
    assert [msgspec.msgpack.encode(f.quality) for f in again.fold] == [
        msgspec.msgpack.encode(f.quality) for f in parts.fold
    ]


def test_the_spend_is_seen_in_prometheus() -> None:
    reader, traffic = Reader(deployment(1_000)), Traffic(10)
    reader.take(*traffic.seconds(100))
    Measures(ManualClock(START_MS)).stepped(1, {0: reader.fold})
    found = said(generate_latest(REGISTRY).decode())
    assert set(found) == {fold.name for fold in reader.fold} and len(found) == 3
    for spend in found.values():
        assert spend.allowed == pytest.approx(100 / 1_000 / 4, rel=0.1)
        assert (spend.alarms, spend.series) == (0, 6)
