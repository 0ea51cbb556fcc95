"""Quality by slice: a tenant's fall is an alarm of its name, on the one budget; what is dropped ends; bounds hold."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from streams.detectors.budget import Budget, Series
from streams.detectors.slice_quality import GONE, About, SliceQuality
from streams.pipeline_state import PipelineState
from tests.unit.streams.drawing import START_MS, Meter, Reader, deployment, of_slice, requests, score
from tidemill.events import Cell, Partial, Progress, ScorePoint, ThresholdEvent
from tidemill.events.monitoring import Moments
from tidemill.settings import Settings
from tidemill.settings.slices import MAX_SCORES, RECENT_SCORES, scores_kept

TENANTS = ("acme", "globex", "initech")
MANY = (*TENANTS, "hooli", "pied", "stark", "umbrella", "wayne", "wonka")
"""So many that the whole stays within ``min_drop`` where one of them falls."""
HOUR_S = 3_600


def scored(at_s: float, value: float, tenant: str) -> ScorePoint:
    slices = (f"tenant={tenant}", "prompt_version=1")
    return score(at_s, value, feedback_id=f"{tenant}-{at_s}", slices=slices)


class Traffic:
    """A second of calls and scores of some tenants after the other, drawn alike until told otherwise."""

    def __init__(self, seed: int, tenants: tuple[str, ...] = TENANTS) -> None:
        self.chance = random.Random(seed)
        self.meter = Meter()
        self.at_s = 0
        self.quality = dict.fromkeys(tenants, 0.9)

    def seconds(self, n: int) -> Iterator[Partial | Progress]:
        for _ in range(n):
            yield self._second()
            self.at_s += 1
            yield self.meter.progress(self.at_s + 1)

    def _second(self) -> Partial:
        points = [
            scored(self.at_s + place / 100, float(self.chance.random() < level), tenant)
            for place, (tenant, level) in enumerate(self.quality.items())
        ]
        by_tenant = {point.slices[0]: cell(self.at_s, [point.score]) for point in points}
        return self.meter.partial(
            [cell(self.at_s, [point.score for point in points])],
            points,
            slices=[of_slice(name, found) for name, found in by_tenant.items()],
        )


def cell(at_s: int, scores: list[float]) -> Cell:
    total = sum(scores)
    quality = Moments(n=len(scores), total=total, total_sq=total)
    return msgspec.structs.replace(requests(at_s, len(scores)), moments={"quality": quality})


def sliced(**pipeline: Any) -> Settings:
    return deployment(size_s=5, lateness_s=5, slices=["tenant"], drift={"enabled": False}, **pipeline)


def alarms(events: list[ThresholdEvent]) -> list[tuple[str, str, str]]:
    return [(e.data.slice, e.data.rule, e.data.state) for e in events if e.data.kind != "system"]


def test_a_fall_of_one_tenant_is_an_alarm_of_its_name_and_of_nobody_else() -> None:
    reader, traffic = Reader(sliced()), Traffic(1, MANY)
    assert reader.take(*traffic.seconds(600)).events == []
    traffic.quality["globex"] = 0.2
    found = reader.take(*traffic.seconds(90)).events
    assert alarms(found) == [("tenant=globex", "quality", "firing")]
    fired = found[0]
    assert fired.subject == "schedule//quality/tenant=globex"
    assert (fired.data.kind, fired.data.severity) == ("quality", "ticket")
    assert "quality (exact_match) of tenant=globex fell from 0.9" in fired.data.summary
    assert fired.data.change_time_ms == pytest.approx(START_MS + 600_000, abs=8_000)
    traffic.quality["globex"] = 0.9
    ended = reader.take(*traffic.seconds(200)).events
    assert alarms(ended)[-1] == ("tenant=globex", "quality", "resolved")
    assert ended[-1].data.alarm_id == fired.id


def test_a_fall_of_all_is_an_alarm_of_the_whole_and_of_each_under_ids_of_their_own() -> None:
    reader, traffic = Reader(sliced()), Traffic(2)
    reader.take(*traffic.seconds(600))
    traffic.quality = dict.fromkeys(TENANTS, 0.2)
    found = [e for e in reader.take(*traffic.seconds(120)).events if e.data.state == "firing"]
    assert {e.data.slice for e in found} == {"", *(f"tenant={name}" for name in TENANTS)}
    assert len({e.data.alarm_id for e in found}) == len(found) == 4
    assert found[0].data.slice == "", "the whole has the scores of all, so it is found first"


def test_windows_have_quality_by_slice_that_adds_up_to_the_whole() -> None:
    rows = Reader(sliced()).take(*Traffic(3).seconds(60)).windows
    found: dict[int, dict[str, tuple[int, float]]] = {}
    for row in rows:
        if row.metric == "quality":
            found.setdefault(row.start_ms, {})[row.slice] = (row.n, row.total)
    for by_slice in found.values():
        n, total = by_slice.pop("")
        assert (n, total) == (sum(n for n, _ in by_slice.values()), sum(t for _, t in by_slice.values()))
    assert len(found) > 10


def test_without_a_change_slices_and_the_whole_raise_no_more_alarms_than_the_budget_allows() -> None:
    """With N so small that many are allowed; a tenant arrives on the way."""
    raised, allowed = 0, 0.0
    for seed in range(4):
        settings = sliced()
        settings = settings.model_copy(update={"max_false_alarms": "1 per 200 clock updates"})
        reader, traffic = Reader(settings), Traffic(seed)
        found = reader.take(*traffic.seconds(500)).events
        traffic.quality["newcomer"] = 0.9
        found += reader.take(*traffic.seconds(500)).events
        raised += sum(state == "firing" for _, _, state in alarms(found))
        (fold,) = reader.fold
        assert fold.spent.series == 5, "the whole and four tenants"
        assert fold.spent.granted <= fold.spent.allowed * 200 + 1e-6
        allowed += fold.spent.allowed
    assert allowed == pytest.approx(4 * 1_000 / 200 / 2, rel=0.05)
    assert raised <= allowed


def test_a_score_whose_slice_is_not_known_counts_in_the_whole_alone() -> None:
    reader, meter = Reader(sliced()), Meter()
    point = score(1, 1.0)
    rows = reader.take(meter.partial([cell(1, [1.0])], [point]), meter.progress(20)).windows
    assert [row.slice for row in rows if row.metric == "quality"] == [""]
    (fold,) = reader.fold
    assert fold.spent.series == 1


def test_a_rule_judges_the_quality_of_a_slice() -> None:
    rule = {"name": "floor", "metric": "quality", "below": 0.5, "slice": "tenant=acme", "min_count": 5}
    reader, traffic = Reader(sliced(rules=[rule])), Traffic(10, MANY)
    traffic.quality["acme"] = 0.0
    found = [e for e in reader.take(*traffic.seconds(20)).events if e.data.kind == "quality"]
    assert [(e.data.rule, e.data.slice, e.data.metric) for e in found] == [("floor", "tenant=acme", "quality")]


def test_dimensions_that_are_not_asked_for_and_other_are_not_watched() -> None:
    reader, traffic = Reader(sliced(max_slices=2)), Traffic(4, ("acme", "globex", "initech", "other"))
    reader.take(*traffic.seconds(60))
    assert set(state_of(reader).states) == {"tenant=acme", "tenant=globex"}


def test_an_alarm_of_a_tenant_that_loses_its_name_ends_with_the_reason() -> None:
    reader, traffic = Reader(sliced(max_slices=2)), Traffic(5, ("acme", "globex"))
    reader.take(*traffic.seconds(400))
    traffic.quality["globex"] = 0.1
    fired = next(e for e in reader.take(*traffic.seconds(60)).events if e.data.slice)
    traffic.at_s += 25 * HOUR_S
    traffic.quality = {"acme": 0.9, "newcomer": 0.9}
    found = reader.take(*traffic.seconds(20)).events
    found = [e for e in found if e.data.slice]
    assert alarms(found) == [("tenant=globex", "quality", "resolved")]
    assert (found[0].data.alarm_id, found[0].data.reason) == (fired.id, GONE)
    assert "notice closed, the slice is no longer watched" in found[0].data.summary
    assert set(state_of(reader).states) == {"tenant=acme", "tenant=newcomer"}
    (fold,) = reader.fold
    assert fold.spent.series == 3


def test_a_dimension_that_leaves_the_settings_ends_its_alarms() -> None:
    reader, traffic = Reader(sliced()), Traffic(6, MANY)
    reader.take(*traffic.seconds(400))
    traffic.quality["acme"] = 0.1
    assert alarms(reader.take(*traffic.seconds(60)).events) == [("tenant=acme", "quality", "firing")]
    bare = deployment(size_s=5, lateness_s=5, drift={"enabled": False})
    again = Reader(bare, dict(reader.fold.changed()), reader.offset)
    assert alarms(again.take(*traffic.seconds(20)).events) == [("tenant=acme", "quality", "resolved")]


def test_a_restart_anywhere_changes_no_byte() -> None:
    traffic = Traffic(7, MANY)
    messages = [*traffic.seconds(300)]
    traffic.quality["acme"] = 0.2
    messages += traffic.seconds(60)
    whole, parts, out = Reader(sliced()), Reader(sliced()), []
    said, states = whole.take(*messages), {}
    for begin in range(0, len(messages), 97):
        out += parts.take(*messages[begin : begin + 97]).events
        states = dict(parts.fold.changed())
        parts = Reader(sliced(), states, parts.offset)
    assert out == said.events and alarms(out) == [("tenant=acme", "quality", "firing")]
    assert decoded(states) == state_of(whole)


def test_with_a_season_a_slice_waits_for_its_hour_and_then_falls_beside_it() -> None:
    reader, traffic = Reader(sliced(season="day")), Traffic(8, ("acme", "globex"))
    for hour in range(72):
        traffic.at_s = hour * HOUR_S
        assert alarms(reader.take(*traffic.seconds(25)).events) == []
        (fold,) = reader.fold
        if hour == 3:
            assert fold.waiting == 3, "the whole and two tenants"
    assert fold.waiting == 0
    traffic.at_s, traffic.quality["globex"] = 72 * HOUR_S, 0.1
    found = reader.take(*traffic.seconds(120)).events
    assert ("tenant=globex", "quality", "firing") in alarms(found)
    fired = next(e for e in found if e.data.slice)
    assert "usual for this hour of the day" in fired.data.summary


@pytest.mark.parametrize(("dimensions", "most"), [(1, 20), (4, 20), (4, 200)])
def test_the_states_of_slices_are_bounded_together(dimensions: int, most: int) -> None:
    chance = random.Random(9)
    settings = deployment(
        slices=["tenant", "prompt_version", "attributes.a", "attributes.b"][:dimensions], max_slices=most
    ).pipelines["schedule"]
    kept, budget = SliceQuality(), Budget(604_800.0)
    about = About("schedule", settings, budget.run_length)
    points = [score(n * 20, chance.choice((0.25, 0.5, 1.0)), feedback_id=str(n)) for n in range(1_500)]
    kept.judge({"tenant=acme": points}, budget, about)
    bytes_of_one = len(kept.states["tenant=acme"])
    assert bytes_of_one < 14 * scores_kept(dimensions * most) + 1_200
    assert bytes_of_one * dimensions * most < 14 * MAX_SCORES + 1_200 * 800 < 3.3e6
    assert scores_kept(80) == RECENT_SCORES


def test_what_is_kept_of_a_slice_follows_the_series_in_the_budget() -> None:
    settings = sliced().pipelines["schedule"]
    kept, budget = SliceQuality(), Budget(604_800.0)
    about = About("schedule", settings, budget.run_length)
    points: Mapping[str, list[ScorePoint]] = {f"tenant={name}": [scored(1, 1.0, name)] for name in TENANTS}
    assert kept.judge(points, budget, about) == [(name, []) for name in sorted(points)]
    assert set(budget.series) == {Series("schedule", "quality", name) for name in points}
    assert kept.keep_only({"tenant=acme"}, budget, about, 0, 5) == [("tenant=globex", []), ("tenant=initech", [])]
    assert budget.series == [Series("schedule", "quality", "tenant=acme")]


def state_of(reader: Reader) -> SliceQuality:
    return decoded(dict(reader.fold.changed()))


def decoded(states: Mapping[str, bytes]) -> SliceQuality:
    return msgspec.msgpack.decode(states["schedule"][8:], type=PipelineState).slice_quality
