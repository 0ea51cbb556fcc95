"""What asks for a retraining beside alarms, and where the GPU budgets stand."""

from __future__ import annotations

from typing import Any

import pytest

from retrain.controller.asking import DAY_MS, asking, known_of
from retrain.controller.book import Book
from retrain.controller.states import following
from retrain.policy import by_order, funds_of, job_id_of
from retrain.policy.funds import most_gpu_s
from tests.unit.retrain.made import NOW, collecting, pipeline
from tidemill.events import JobState, StationTime
from tidemill.events.lifecycle import gpu_seconds
from tidemill.settings import GpuSettings, PipelineSettings, TriggerSettings

HOUR_MS = 3_600_000
OCCURRENCE = NOW - NOW % HOUR_MS


def hourly(**more: Any) -> dict[str, PipelineSettings]:
    return {"schedule": pipeline(trigger=TriggerSettings(schedule="every 1h", schedule_slack_s=600), **more)}


def trained(version: str = "schedule-v1", until_ms: int = NOW - 8 * DAY_MS, **changes: Any) -> JobState:
    figures = {"until_ms": until_ms, "gpu_seconds": 100.0}
    return collecting(**{"phase": "registered", "candidate_version": version, "figures": figures} | changes)


def asked(book: Book, pipelines: dict[str, PipelineSettings], now_ms: int) -> list[tuple[str, int]]:
    return [(trigger.kind, trigger.since_ms) for trigger in asking(book, pipelines, now_ms)]


def test_an_occurrence_asks_from_its_time_on_for_as_long_as_it_may() -> None:
    for now in (OCCURRENCE, OCCURRENCE + 600_000):
        assert asked(Book(), hourly(), now) == [("schedule", OCCURRENCE - HOUR_MS)]
    assert asked(Book(), hourly(), OCCURRENCE + 600_001) == [], "nobody looked in time"


def test_an_occurrence_that_was_declined_for_a_while_is_asked_to_its_end_and_then_no_more() -> None:
    book, pipelines = Book(), hourly()
    (trigger,) = asking(book, pipelines, OCCURRENCE)
    waiting = collecting(job_id=job_id_of(trigger.trigger_id), phase="declined", deadline_ms=OCCURRENCE + 9)
    book.note_job(waiting)
    assert asked(book, pipelines, OCCURRENCE + 8) == []
    assert len(asked(book, pipelines, OCCURRENCE + HOUR_MS - 1)) == 1, "to be told that it is passed over"
    book.note_job(following(waiting, OCCURRENCE + 700_000, deadline_ms=None))
    assert asked(book, pipelines, OCCURRENCE + HOUR_MS - 1) == []
    assert len(asked(book, pipelines, OCCURRENCE + HOUR_MS)) == 1, "the next one"


def test_a_job_in_vain_of_a_schedule_waits_for_the_next_occurrence() -> None:
    book, pipelines = Book(), hourly()
    (trigger,) = asking(book, pipelines, OCCURRENCE)
    book.note_job(collecting(job_id=job_id_of(trigger.trigger_id), phase="rejected", time_ms=OCCURRENCE))
    assert asked(book, pipelines, OCCURRENCE + 500_000) == []


def test_labels_since_the_champions_data_are_fresh() -> None:
    book = Book()
    book.note_job(trained(until_ms=NOW - 5_000))
    assert asked(book, hourly(), OCCURRENCE) == [("schedule", NOW - 5_000)]


def test_where_alarms_may_start_nothing_schedules_may_not_either() -> None:
    assert asked(Book(), hourly(retrain={"enabled": False}), OCCURRENCE) == []


def test_old_data_asks_once_a_champion_and_unknown_data_never() -> None:
    pipelines = {"schedule": pipeline(trigger=TriggerSettings(max_data_age_days=7))}
    book = Book()
    assert asked(book, pipelines, NOW) == []
    book.note_job(trained())
    book.champions["schedule"] = "schedule-v1"
    (trigger,) = asking(book, pipelines, NOW)
    assert (trigger.kind, trigger.since_ms) == ("age", NOW - 8 * DAY_MS)
    known = known_of(trigger, book, pipelines, GpuSettings(), NOW)
    assert known.data_age_days == 8
    assert list(asking(book, pipelines, NOW - DAY_MS)) == [trigger]
    assert list(asking(book, pipelines, NOW - DAY_MS - 1)) == []
    book.champions["schedule"] = "schedule-v2"
    assert asked(book, pipelines, NOW) == [], "nobody knows the data of that one"


def test_gpu_time_is_as_measured_else_that_of_the_stations() -> None:
    assert gpu_seconds(collecting(), NOW) == 0
    stations = (
        StationTime(station="data", started_ms=NOW - 900_000, ended_ms=NOW - 60_000),
        StationTime(station="train", started_ms=NOW - 60_000, ended_ms=NOW - 20_000),
        StationTime(station="gate", started_ms=NOW - 20_000),
    )
    assert gpu_seconds(collecting(stations=stations), NOW) == 60
    assert gpu_seconds(collecting(stations=stations, figures={"gpu_seconds": 7.5}), NOW) == 7.5
    assert gpu_seconds(collecting(stations=stations, figures={"gpu_seconds": 0.0}), NOW) == 60, "trained on processors"


def test_open_jobs_hold_what_they_are_expected_to_take() -> None:
    pipelines = {"schedule": pipeline(), "support": pipeline(trigger=TriggerSettings(expected_gpu_s=40))}
    gpu = GpuSettings(budget_hours=1, usd_per_hour=36)
    jobs = [
        *(trained(job_id=f"j{n}", time_ms=NOW - n, figures={"gpu_seconds": 100.0 + n}) for n in range(7)),
        trained(job_id="old", time_ms=NOW - 31 * DAY_MS, figures={"gpu_seconds": 5_000.0}),
        collecting(job_id="open"),
        collecting(job_id="other", pipeline="support"),
        collecting(job_id="declined", phase="declined"),
    ]
    funds = funds_of(jobs, "schedule", pipelines, gpu, NOW)
    assert funds.expected_s == 104, "the longest of the last five"
    assert funds.spent_s == pytest.approx(721 + 104)
    assert funds.spent_all_s == pytest.approx(721 + 104 + 40)
    assert (funds.budget_s, funds.budget_all_s) == (None, 3_600)
    assert funds.cost_usd == pytest.approx(1.04)
    assert funds_of(jobs, "support", pipelines, gpu, NOW).expected_s == 40
    assert funds_of([], "schedule", pipelines, GpuSettings(), NOW).expected_s == pipelines["schedule"].retrain.timeout_s
    assert funds_of([], "schedule", pipelines, GpuSettings(), NOW).cost_usd is None


def test_jobs_before_the_period_say_nothing_of_the_next_one() -> None:
    pipelines = {"schedule": pipeline(trigger=TriggerSettings(gpu_budget_hours=1, expected_gpu_s=600))}
    old = trained(time_ms=NOW - 31 * DAY_MS, figures={"gpu_seconds": 9_000.0})
    assert funds_of([old], "schedule", pipelines, GpuSettings(), NOW).expected_s == 600
    recent = trained(job_id="recent", time_ms=NOW - DAY_MS, figures={"gpu_seconds": 700.0})
    assert funds_of([old, recent], "schedule", pipelines, GpuSettings(), NOW).expected_s == 700


def test_a_clock_that_was_set_makes_no_job_take_less_than_nothing_or_more_than_it_can() -> None:
    pipelines = {"schedule": pipeline()}
    most = most_gpu_s(pipelines["schedule"])
    assert most == 2 * 900 * 3
    for ended_ms, taken in ((NOW - HOUR_MS, 0), (NOW + 30 * DAY_MS, most)):
        spell = (StationTime(station="train", started_ms=NOW, ended_ms=ended_ms),)
        job = trained(time_ms=NOW, stations=spell, figures={})
        assert funds_of([job], "schedule", pipelines, GpuSettings(), NOW + 1).spent_s == taken
    wrong = trained(time_ms=NOW, figures={"gpu_seconds": -3_600.0})
    assert funds_of([wrong], "schedule", pipelines, GpuSettings(), NOW + 1).spent_s == 0
    measured = trained(time_ms=NOW, figures={"gpu_seconds": 9_999.0})
    assert funds_of([measured], "schedule", pipelines, GpuSettings(), NOW + 1).expected_s == most


def test_an_order_knows_where_the_budgets_stand() -> None:
    book = Book()
    book.note_job(trained())
    known = known_of(by_order("o", "schedule", NOW, 0), book, {"schedule": pipeline()}, GpuSettings(), NOW)
    assert (known.funds.spent_s, known.busy) == (100, "the rollout of schedule-v1")
