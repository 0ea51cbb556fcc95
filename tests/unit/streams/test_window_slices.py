"""Slices in stage 2: their windows beside the whole, who has a name, rules and budgets of one slice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.windows.slices import IDLE_MS, slicing_of
from streams.windows.sources import Watermark
from streams.windows.state import Windows
from tests.unit.streams.drawing import START_MS, Meter, Reader, answers, deployment, of_slice, requests
from tidemill.events import Cell, Partial, ThresholdEvent, Window

DAY_S = IDLE_MS // 1000
TENANTS: dict[str, Any] = {"slices": ["tenant"]}


def of(meter: Meter, tenant: str, *cells: Cell) -> Partial:
    """A range with one tenant's calls and answers."""
    return meter.partial(cells, slices=[of_slice(f"tenant={tenant}", cell) for cell in cells])


def shown(windows: Iterable[Window], metric: str) -> dict[str, float | None]:
    return {row.slice: row.value for row in windows if row.metric == metric}


def test_slices_have_rows_of_their_own_beside_the_whole() -> None:
    meter, reader = Meter(), Reader(deployment(**TENANTS))
    reader.take(of(meter, "acme", requests(1, 3), answers(1, [10.0, 30.0], errors=1)))
    reader.take(of(meter, "globex", requests(2, 1), answers(2, [50.0], version="schedule-v2")))
    windows = reader.take(meter.progress(15)).windows
    assert shown(windows, "requests") == {"": 4, "tenant=acme": 3, "tenant=globex": 1}
    assert shown(windows, "error_rate")["tenant=acme"] == 0.5
    (row,) = [row for row in windows if row.metric == "e2e_ms" and row.slice == "tenant=acme"]
    assert (row.value, row.n, row.p95, row.histogram, row.model_version) == (20.0, 2, None, None, "")
    assert (row.variant, row.role) == ("champion", "client")


def test_without_the_setting_slices_of_a_partial_are_left_out() -> None:
    meter, reader = Meter(), Reader(deployment())
    reader.take(of(meter, "acme", requests(1, 3)))
    assert shown(reader.take(meter.progress(15)).windows, "requests") == {"": 3}


def test_late_calls_revise_their_slice_and_no_other() -> None:
    meter, reader = Meter(), Reader(deployment(**TENANTS))
    reader.take(of(meter, "acme", requests(1, 3)), of(meter, "globex", requests(1, 2)), meter.progress(15))
    windows = reader.take(of(meter, "acme", requests(2, 1)), meter.progress(16)).windows
    assert shown(windows, "requests") == {"": 6, "tenant=acme": 4}
    assert {row.revision for row in windows} == {1}


def test_values_beyond_the_first_are_counted_as_other() -> None:
    meter, reader = Meter(), Reader(deployment(**TENANTS, max_slices=2))
    for tenant in ("a", "b", "c", "d"):
        reader.take(of(meter, tenant, requests(1, 1)))
    assert shown(reader.take(meter.progress(15)).windows, "requests") == {
        "": 4,
        "tenant=a": 1,
        "tenant=b": 1,
        "tenant=other": 2,
    }


def test_a_value_keeps_its_name_and_gives_it_back_after_a_day_without_traffic() -> None:
    meter, reader = Meter(), Reader(deployment(**TENANTS, max_slices=1))

    def calls(tenant: str, at_s: int) -> dict[str, float | None]:
        return shown(reader.take(of(meter, tenant, requests(at_s, 1)), meter.progress(at_s + 11)).windows, "requests")

    assert calls("a", 0) == {"": 1, "tenant=a": 1}
    assert calls("b", 100)["tenant=other"] == 1
    assert calls("a", 200)["tenant=a"] == 1
    assert calls("b", 190 + DAY_S)["tenant=other"] == 1, "a had calls less than a day ago"
    assert calls("b", 250 + DAY_S)["tenant=other"] == 1, "its name holds from the next window on"
    assert calls("b", 260 + DAY_S)["tenant=b"] == 1
    assert calls("a", 270 + DAY_S)["tenant=other"] == 1


def test_what_a_rule_names_has_its_figures_whoever_came_first() -> None:
    rule = {"name": "theirs", "metric": "requests", "above": 1, "for_windows": 1, "slice": "tenant=z"}
    meter, reader = Meter(), Reader(deployment(**TENANTS, max_slices=1, rules=[rule]))
    reader.take(of(meter, "a", requests(1, 5)), of(meter, "z", requests(1, 2)))
    out = reader.take(meter.progress(15))
    assert shown(out.windows, "requests") == {"": 7, "tenant=other": 5, "tenant=z": 2}
    (event,) = out.events
    assert (event.data.slice, event.data.value, event.subject) == ("tenant=z", 2, "schedule//requests/tenant=z")
    assert event.data.summary.startswith("schedule: requests of tenant=z is 2.00, above 1.00")


def test_a_rule_of_a_slice_ends_when_its_slice_is_another() -> None:
    rule = {"name": "theirs", "metric": "requests", "above": 1, "for_windows": 1, "slice": "tenant=z"}
    meter, reader = Meter(), Reader(deployment(**TENANTS, rules=[rule]))
    (began,) = reader.take(of(meter, "z", requests(1, 2)), meter.progress(15)).events
    changed = deployment(**TENANTS, rules=[rule | {"slice": "tenant=y"}])
    reader = Reader(changed, dict(reader.fold.changed()), reader.offset)
    (ended,) = reader.take(of(meter, "z", requests(11, 2)), meter.progress(25)).events
    assert (ended.data.state, ended.data.alarm_id, ended.data.slice) == ("resolved", began.id, "tenant=z")
    assert ended.subject == began.subject


def paid(at_s: int, usd: float) -> Cell:
    return answers(at_s, [5.0], cost_micros=round(usd * 1_000_000), priced=1)


def told(events: list[ThresholdEvent]) -> list[tuple[str, str, str]]:
    return [(event.data.rule, event.data.state, event.data.slice) for event in events]


def test_each_tenant_may_have_a_budget_of_its_own() -> None:
    budget = {"name": "own", "max_usd_per_day": 10, "shares": [1.0], "each": "tenant"}
    meter, reader = Meter(), Reader(deployment(**TENANTS, budgets=[budget]))
    reader.take(of(meter, "acme", paid(1, 8)), of(meter, "globex", paid(1, 8)))
    assert reader.take(meter.progress(3)).events == [], "16 in all, and nobody above 10"
    first = reader.take(of(meter, "globex", paid(4, 3)), meter.progress(5)).events
    second = reader.take(of(meter, "acme", paid(6, 3)), meter.progress(7)).events
    assert told(first + second) == [
        ("own_100", "firing", "tenant=globex"),
        ("own_100", "firing", "tenant=acme"),
    ]
    assert first[0].data.summary == "schedule: spend of the day of tenant=globex is 11.0, above 10.0"
    assert first[0].id != second[0].id
    states = dict(reader.fold.changed())
    ended = Reader(deployment(), states, reader.offset).take(meter.progress(DAY_S)).events
    assert told(ended) == [("own_100", "resolved", "tenant=acme"), ("own_100", "resolved", "tenant=globex")]
    assert {event.data.alarm_id for event in ended} == {first[0].id, second[0].id}


def test_a_budget_of_one_slice_does_not_look_at_others_nor_at_shadows() -> None:
    budget = {"name": "acme", "max_usd_per_day": 10, "shares": [1.0], "slice": "tenant=acme"}
    meter, reader = Meter(), Reader(deployment(**TENANTS, budgets=[budget]))
    shadow = answers(1, [5.0], cost_micros=90_000_000, priced=1, variant="shadow")
    reader.take(of(meter, "globex", paid(1, 80)), meter.partial([shadow]), of(meter, "acme", paid(1, 9)))
    assert reader.take(meter.progress(3)).events == []
    assert told(reader.take(of(meter, "acme", paid(4, 2)), meter.progress(5)).events) == [
        ("acme_100", "firing", "tenant=acme")
    ]


def test_tenants_that_are_counted_together_have_no_budget_each() -> None:
    budget = {"name": "own", "max_usd_per_day": 10, "each": "tenant"}
    meter, reader = Meter(), Reader(deployment(**TENANTS, max_slices=1, budgets=[budget]))
    reader.take(of(meter, "a", paid(1, 1)), of(meter, "b", paid(1, 8)), of(meter, "c", paid(1, 8)))
    assert reader.take(meter.progress(3)).events == []


def test_a_closed_window_hands_its_slices_over() -> None:
    settings = deployment(slices=["tenant", "prompt_version"])
    cell = requests(1, 4)
    partial = Meter().partial([cell], slices=[of_slice(name, cell) for name in ("tenant=a", "prompt_version=3")])
    windows = Windows()
    windows.apply(partial, 0, settings.windows, slicing_of(settings.pipelines["schedule"]))
    (closed,) = windows.follow(Watermark(START_MS + 10_000, complete=True), settings.windows)
    assert {name: tally.requests for name, tally in closed.slices.items()} == {"prompt_version=3": 4, "tenant=a": 4}
    assert [tally.requests for tally in closed.series.values()] == [4]
