"""The console's pure parts: where the wheel stands, what is marked, what is said; nothing in it can be injected."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from dashboards.console.charts import markers, options
from dashboards.console.drawing import drawing
from dashboards.console.main import report_file
from dashboards.console.timeline import timeline
from dashboards.console.view import Pipeline
from dashboards.console.wheel import wheel
from tests.unit.dashboards.console_pictures import ALARM_ID, FROM, NOW, alarm, job, pipeline, rollout


def lit(shown: Pipeline) -> str:
    return next(stop.station for stop in wheel(shown, NOW).stops if stop.light == "now")


@pytest.mark.parametrize(
    ("fields", "station"),
    [
        ({}, "watch"),
        ({"alarms": (alarm(),)}, "alarm"),
        ({"alarms": (alarm(), alarm("resolved"))}, "watch"),
        ({"alarms": (alarm(kind="drift"),)}, "watch"),
        ({"jobs": (job("declined"),)}, "watch"),
        ({"jobs": (job("collecting"),)}, "data"),
        ({"jobs": (job("training"),)}, "train"),
        ({"jobs": (job("gating"),)}, "gate"),
        ({"jobs": (job("registered"),), "rollouts": (rollout("shadow", 0),)}, "shadow"),
        ({"jobs": (job("registered"),), "rollouts": (rollout("canary"),)}, "canary"),
        ({"jobs": (job("registered"),), "rollouts": (rollout("champion", 100),)}, "watch"),
        ({"jobs": (job("rejected"),)}, "watch"),
    ],
)
def test_the_wheel_stands_where_the_loop_is(fields: dict[str, object], station: str) -> None:
    assert lit(pipeline(**fields)) == station


def test_a_rejected_candidate_and_a_rollback_are_shown_as_failed() -> None:
    rejected = wheel(pipeline(jobs=(job("rejected"),)), NOW)
    assert [stop.station for stop in rejected.stops if stop.light == "failed"] == ["gate"]
    back = wheel(pipeline(jobs=(job("registered"),), rollouts=(rollout("rolled_back", 0),)), NOW)
    assert [stop.station for stop in back.stops if stop.light == "failed"] == ["canary"]


def test_a_rollout_of_another_job_is_not_this_turn() -> None:
    assert lit(pipeline(jobs=(job("collecting", job_id="j2"),), rollouts=(rollout("champion"),))) == "data"


def test_no_data_is_a_dash_and_not_zero() -> None:
    empty = Pipeline("new", "")
    assert empty.recent("quality") is None
    assert empty.rate("requests", 5) is None
    assert wheel(empty, NOW).stops[0].figure == "quality –"


def test_the_drawing_is_well_formed_and_escapes_words() -> None:
    shown = pipeline(jobs=(job("collecting", reason="<script>alert(1)</script> & 3 < 4"),))
    svg = drawing(wheel(shown, NOW), '"><b>')
    ElementTree.fromstring(svg)
    assert "<script>" not in svg


def test_what_happened_is_marked_on_every_panel() -> None:
    shown = pipeline(alarms=(alarm(),), jobs=(job("registered"),), rollouts=(rollout("canary"),))
    assert [marker.label for marker in markers(shown, FROM)] == ["change", "alarm: quality", "canary"]
    figure = options(shown, FROM, NOW, 5)
    marked = [series for series in figure["series"] if "markLine" in series]
    assert len(marked) == len(figure["grid"])
    assert all(len(series["markLine"]["data"]) == 3 for series in marked)


def test_series_of_a_pipeline_without_data_are_empty_but_drawn() -> None:
    assert options(Pipeline("new", ""), FROM, NOW, 5)["series"]


def test_the_timeline_is_newest_first_and_links_the_evidence() -> None:
    shown = pipeline(alarms=(alarm(),), jobs=(job("registered"),), steps=(rollout("canary"), rollout("canary")))
    entries = timeline(shown)
    assert [entry.time_ms for entry in entries] == sorted((entry.time_ms for entry in entries), reverse=True)
    assert len([entry for entry in entries if "schedule-v2 canary" in entry.text]) == 1
    assert [entry.link for entry in entries if entry.link] == [f"/evidence/{ALARM_ID}"]


@pytest.mark.parametrize("name", ["../secrets/gateway", "a" * 7, "A" * 32, "%2e%2e", ""])
def test_only_reports_of_alarms_are_served(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{ALARM_ID}.html").write_text("report")
    assert report_file(tmp_path, name) is None
    assert report_file(tmp_path, ALARM_ID) == tmp_path / f"{ALARM_ID}.html"
    assert report_file(tmp_path, "b" * 32) is None
