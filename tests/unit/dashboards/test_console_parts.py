"""The console's pure parts: where the wheel stands, what is marked, what is said; nothing in it can be injected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import msgspec
import pytest
from msgspec import structs
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboards.console.charts import latency_cut, markers, options
from dashboards.console.drawing import drawing
from dashboards.console.feed import latest_jobs
from dashboards.console.hosts import is_own, own_names
from dashboards.console.main import application
from dashboards.console.page import _facts
from dashboards.console.story import evidence_of, report_file
from dashboards.console.timeline import compared, of_system, standing, timeline
from dashboards.console.view import Pipeline, Point
from dashboards.console.wheel import STATIONS, wheel
from tests.unit.dashboards.console_pictures import ALARM_ID, FROM, NOW, alarm, job, picture, pipeline, rollout
from tests.unit.dashboards.console_stories import some_evidence
from tidemill.events import JobProgress, JobState, StationTime
from tidemill.events.lifecycle import JobPhase, RolloutPhase, Station
from tidemill.evidence import evidence_file
from tidemill.io.spend import Spend
from tidemill.settings import Settings
from tidemill.settings.model import ClickHouseSettings, ConsoleSettings


def lit(shown: Pipeline) -> str:
    return next(each.station for each in wheel(shown, NOW).stations if each.light == "now")


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


def ways(*names: Station) -> tuple[StationTime, ...]:
    return tuple(StationTime(station=name, started_ms=NOW - 9, ended_ms=NOW) for name in names)


@pytest.mark.parametrize(
    ("fields", "station"),
    [
        ({"jobs": (job("rejected", stations=ways("data", "train", "gate")),)}, "gate"),
        ({"jobs": (job("failed", stations=ways("data")),)}, "data"),
        ({"jobs": (job("failed", stations=ways("data", "train")),)}, "train"),
        ({"jobs": (job("failed", stations=()),)}, "train"),
        ({"jobs": (job("registered"),), "rollouts": (rollout("rolled_back", 0),)}, "canary"),
        ({"jobs": (job("registered"),), "rollouts": (rollout("rolled_back", 0, stations=ways("shadow")),)}, "shadow"),
        ({"jobs": (job("registered"),), "rollouts": (rollout("failed", 0, stations=()),)}, "shadow"),
    ],
)
def test_a_turn_that_ended_badly_is_shown_where_it_ended(fields: dict[str, object], station: str) -> None:
    shown = wheel(pipeline(**fields), NOW).stations
    assert [each.station for each in shown if each.light == "failed"] == [station]
    after = STATIONS[STATIONS.index(station) + 1 :]
    assert all(each.light == "ahead" for each in shown if each.station in after)


def test_a_rollback_is_written_at_its_station() -> None:
    back = pipeline(jobs=(job("registered"),), rollouts=(rollout("rolled_back", 0, stations=ways("shadow")),))
    assert {each.station: each.figure for each in wheel(back, NOW).stations}["shadow"] == "rolled back"


@pytest.mark.parametrize(
    ("phase", "told", "station", "figure"),
    [
        ("collecting", "collecting", "data", "204 of 300 labels"),
        ("training", "training", "train", "step 204 of 300"),
        ("training", "collecting", "train", ""),
        ("gating", "gating", "train", "150 steps"),
    ],
)
def test_progress_is_shown_at_its_station(phase: str, told: str, station: str, figure: str) -> None:
    far = JobProgress(job_id="j1", time_ms=NOW, pipeline="schedule", phase=told, done=204, of=300)  # type: ignore[arg-type]
    figures = {"train_steps": 150.0} if phase == "gating" else {}
    shown = wheel(pipeline(jobs=(job(phase, figures=figures),), progress=far), NOW)
    assert {each.station: each.figure for each in shown.stations}[station] == figure


def test_a_rollout_of_another_job_is_not_this_turn() -> None:
    assert lit(pipeline(jobs=(job("collecting", job_id="j2"),), rollouts=(rollout("champion"),))) == "data"


def test_a_pipeline_without_content_says_what_is_watched() -> None:
    assert Pipeline("p", "", content_free=True).watched == "capture is off: only content-free features are watched"
    assert Pipeline("p", "").watched == ""


def test_no_data_is_a_dash_and_not_zero() -> None:
    empty = Pipeline("new", "")
    assert empty.recent("quality") is None
    assert empty.rate("requests", 5) is None
    assert wheel(empty, NOW).stations[0].figure == "quality –"


def test_questions_without_answers_are_not_called_healthy() -> None:
    asked: dict[str, object] = {"requests": {"": (Point(FROM, 30.0, 30),)}}
    unanswered = asked | {"answers": {"v": (Point(FROM, 0.0, 0),)}}
    answered = asked | {"answers": {"v": (Point(FROM, 0.0, 0), Point(FROM + 5_000, 3.0, 3))}}
    for series, headline in ((asked, "no answers yet"), (unanswered, "no answers yet"), (answered, "healthy")):
        found = picture(series=series)
        assert wheel(found.pipelines["schedule"], NOW).headline == headline
        assert _facts(found.pipelines["schedule"], found)[0] == headline
    assert wheel(pipeline(series=asked, alarms=(alarm(),)), NOW).headline == "alarm"
    assert wheel(Pipeline("new", ""), NOW).headline == "healthy"


def test_only_a_fresh_estimate_of_the_champion_is_shown() -> None:
    def shown(version: str, start_ms: int) -> dict[str, str]:
        estimates = {f"quality_estimate{end}": {version: (Point(start_ms, 0.9, 60),)} for end in ("", "_low", "_high")}
        found = picture(series=estimates)
        return dict(_facts(found.pipelines["schedule"], found)[1])

    assert shown("schedule-v1", NOW - 40_000)["estimated, without labels"] == "0.90 (0.90 to 0.90)"
    assert "estimated, without labels" not in shown("schedule-v1", NOW - 240_000), "it may have been withdrawn"
    assert "estimated, without labels" not in shown("schedule-v0", NOW - 40_000), "of a version that serves no more"


def test_the_drawing_is_well_formed_and_escapes_words() -> None:
    shown = pipeline(jobs=(job("collecting", reason="<script>alert(1)</script> & 3 < 4"),))
    svg = drawing(wheel(shown, NOW), '"><b>')
    ElementTree.fromstring(svg)
    assert "<script>" not in svg


def test_both_arms_stand_beside_each_other_as_far_as_they_are_compared() -> None:
    figures = {"candidate_mean": 0.9, "champion_mean": 0.3, "candidate_e2e_ms": 812.3, "champion_e2e_ms": 790.0}
    state = structs.replace(rollout("canary", 0), figures={**figures, "candidate_answers": 120.0})
    assert compared(state) == "quality 0.90 beside 0.30 · e2e_ms 812.3 beside 790 · 0 of 120 answers failed"
    assert compared(structs.replace(state, figures={"champion_mean": 0.3})) == ""


def test_every_phase_has_words_of_its_own() -> None:
    jobs = [timeline(pipeline(jobs=(job(phase, verdicts=()),)))[0].text for phase in get_args(JobPhase)]
    steps = [standing(rollout(phase, 0)) for phase in get_args(RolloutPhase)]
    assert len(set(jobs)) == len(jobs) and len(set(steps)) == len(steps)
    assert "retraining trains an adapter: it is training" in jobs
    assert not any("0 %" in step for step in steps if "canary" not in step)


def test_what_a_job_did_on_its_way_stays_told() -> None:
    way = (
        job("collecting", seq=0, time_ms=NOW - 90, reason="it collects"),
        job("training", seq=1, time_ms=NOW - 80, reason="training on 367 rows, 30 of them older", verdicts=()),
        job("training", seq=2, time_ms=NOW - 79, reason="training on 367 rows", verdicts=()),
        job("gating", seq=3, time_ms=NOW - 60, reason="scoring", verdicts=()),
        job("gating", seq=4, time_ms=NOW - 50, reason="asking the engine"),
        job("registered", seq=5, time_ms=NOW - 40, reason="registered"),
    )

    def told(steps: tuple[JobState, ...]) -> list[str]:
        entries = timeline(pipeline(jobs=latest_jobs(steps), job_steps=steps))
        return [entry.text for entry in reversed(entries) if entry.text.startswith("retraining")]

    assert told(way[:3])[-1] == "retraining trains an adapter: training on 367 rows, 30 of them older"
    assert told(way[:5])[2:] == [
        "retraining has its candidate judged by the gate: scoring",
        "retraining has its candidate judged by the gate: asking the engine",
    ]
    assert [text.split(":")[0] for text in told(way)] == [
        "retraining collects labels",
        "retraining trains an adapter",
        "retraining has its candidate judged by the gate",
        "retraining made a new version",
    ]


def test_what_starts_no_retraining_is_named() -> None:
    refused = (job("declined", alarm_metric=metric, job_id=metric, verdicts=()) for metric in ("e2e_ms", "quality", ""))
    assert {entry.text for entry in timeline(pipeline(jobs=tuple(refused)))} == {
        "no retraining for the alarm on e2e_ms: it is declined",
        "no retraining for the alarm on quality: it is declined",
        "no retraining: it is declined",
    }


def test_the_spend_of_the_budget_of_false_alarms_is_said_where_it_is_known() -> None:
    told = Pipeline("p", "", spend=Spend(0.0214, 3, 11), allowed_a_day=1 / 21).false_alarms
    assert told == (
        "false alarms allowed on average: one in 21 days, which makes 0.02 so far; "
        "the detectors raised 3 alarms, false or not, on 11 series"
    )
    young = Pipeline("p", "", spend=Spend(6.4e-05, 1, 10), allowed_a_day=2.4).false_alarms
    assert "2.4 a day, which makes less than 0.01 so far; the detectors raised 1 alarm, false" in young
    assert Pipeline("p", "").false_alarms == ""


def test_the_tooltip_names_each_figure_in_the_order_of_the_panels() -> None:
    figure = options(pipeline(), FROM, NOW, 5)
    drawn = [series for series in figure["series"] if "id" in series]
    ids = [series["id"] for series in drawn]
    assert ids == [
        "quality · schedule-v1",
        "quality, estimate · schedule-v1",
        "latency p95, ms · schedule-v1",
        "latency p50, ms · schedule-v1",
        "calls / s · schedule-v1",
        "drift · unseen words",
        "drift · distance of wording",
        "cost, $ / h · schedule-v1",
    ]
    assert [series["xAxisIndex"] for series in drawn] == sorted(series["xAxisIndex"] for series in drawn)
    assert "seriesId" in figure["tooltip"][":formatter"] and figure["series"][: len(drawn)] == drawn


def test_a_cold_start_does_not_flatten_the_latency_of_all_that_follows() -> None:
    usual = [Point(FROM + 5_000 * n, 100.0, 9, 50.0, 110.0 + n % 7) for n in range(1, 40)]
    cold = Point(FROM, 5_000.0, 1, 5_000.0, 5_200.0)
    cut = options(pipeline(series={"e2e_ms": {"v": (cold, *usual)}}), FROM, NOW, 5)
    axis = cut["yAxis"][1]
    assert axis["max"] == 200 and axis["name"].endswith("; cut off at 200, the highest is 5,200")
    drawn = [point for series in cut["series"] if series["data"] for point in series["data"]]
    assert [FROM, 5_200.0] in drawn, "left out of sight, not of the figures"
    whole = options(pipeline(series={"e2e_ms": {"v": tuple(usual)}}), FROM, NOW, 5)["yAxis"][1]
    assert "max" not in whole and "cut" not in whole["name"]


@pytest.mark.parametrize(
    "p95s",
    [
        [],
        [None] * 9,
        [5_000.0, 10.0],
        [0.0] * 9,
        [100.0] * 30 + [190.0],
        [100.0] * 60 + [900.0] * 3,
    ],
    ids=["nothing", "unknown", "too few", "zeros", "a little more", "not one odd window but a change"],
)
def test_all_of_the_latency_is_shown_where_nothing_sticks_out_alone(p95s: list[float | None]) -> None:
    assert latency_cut(p95s) is None


def test_an_estimate_is_drawn_when_it_was_known() -> None:
    known = (Point(FROM, 0.9, 60, end_ms=FROM + 40_000),)
    drawn = options(pipeline(series={"quality_estimate": {"v": known}}), FROM, NOW, 5)["series"]
    assert [series["data"] for series in drawn if series["data"]] == [[[FROM + 40_000, 0.9]]]


def test_what_happened_is_marked_on_every_panel() -> None:
    shown = pipeline(alarms=(alarm(),), jobs=(job("registered"),), rollouts=(rollout("canary"),))
    assert [marker.label for marker in markers(shown, FROM)] == ["change", "alarm: quality", "canary"]
    figure = options(shown, FROM, NOW, 5)
    marked = [series for series in figure["series"] if "markLine" in series]
    assert len(marked) == len(figure["grid"])
    assert all(len(series["markLine"]["data"]) == 3 for series in marked)


def test_a_fall_of_a_slice_is_a_line_without_a_label_and_its_name_is_in_the_list() -> None:
    told = alarm(summary="schedule: quality (exact_match) of tenant=acme fell from 0.97 to 0.10")
    told = structs.replace(told, data=structs.replace(told.data, slice="tenant=acme"))
    shown = pipeline(alarms=(told,))
    assert [marker.label for marker in markers(shown, FROM)] == [""]
    assert "of tenant=acme fell" in timeline(shown)[0].text


def test_series_of_a_pipeline_without_data_are_empty_but_drawn() -> None:
    assert options(Pipeline("new", ""), FROM, NOW, 5)["series"]


def test_the_timeline_is_newest_first_and_links_each_alarm_to_its_page() -> None:
    shown = pipeline(alarms=(alarm(),), jobs=(job("registered"),), steps=(rollout("canary"), rollout("canary")))
    entries = timeline(shown)
    assert [entry.time_ms for entry in entries] == sorted((entry.time_ms for entry in entries), reverse=True)
    assert len([entry for entry in entries if "schedule-v2 is the canary" in entry.text]) == 1
    assert [entry.link for entry in entries if entry.link] == ["/gate/j1", f"/alarms/{ALARM_ID}"]


def test_alarms_about_the_deployment_are_listed_newest_first_and_linked() -> None:
    fired = alarm(kind="system", summary="local: 12 requests wait in the queue, above 10")
    over = alarm("resolved", kind="system", summary="queue is in order again")
    entries = of_system(replace(picture(), system=(over, fired)))
    assert [entry.text for entry in entries] == [over.data.summary, fired.data.summary]
    assert [entry.link for entry in entries] == ["", f"/alarms/{ALARM_ID}"]
    assert of_system(picture()) == []


def test_the_timeline_shows_what_the_detector_had_and_what_is_wrong_with_it() -> None:
    fired = alarm()
    data = structs.replace(fired.data, statistic=731_204.5, statistic_limit=604_800.0, warning="values depend")
    (entry,) = timeline(pipeline(alarms=(structs.replace(fired, data=data),)))
    assert entry.text == "quality fell; the detector stood at 731,204, it alarms at 604,800; values depend"


def test_a_warning_after_an_alarm_does_not_take_its_place() -> None:
    warned = structs.replace(
        alarm(kind="system", summary="values depend"),
        data=structs.replace(alarm(kind="system").data, severity="info", alarm_id="b" * 32),
    )
    assert wheel(pipeline(alarms=(alarm(), warned)), NOW).detail == "quality fell"


@pytest.mark.parametrize("name", ["../secrets/gateway", "a" * 7, "A" * 32, "%2e%2e", ""])
def test_only_reports_of_alarms_are_served(tmp_path: Path, name: str) -> None:
    settings, folder = Settings(data_dir=tmp_path), tmp_path / "evidence"
    folder.mkdir()
    (folder / f"{ALARM_ID}.html").write_text("report")
    assert report_file(settings, name) is None
    assert report_file(settings, ALARM_ID) == folder / f"{ALARM_ID}.html"
    assert report_file(settings, "b" * 32) is None


def test_what_was_made_before_capture_was_switched_off_shows_no_text(tmp_path: Path) -> None:
    kept = {"engine": "e", "champion": "schedule-v1", "retrain": {"enabled": False}}
    given = {"engines": {"e": {}}, "data_dir": str(tmp_path)}
    full, off = (
        Settings.model_validate(given | {"pipelines": {"schedule": kept | {"capture": capture}}})
        for capture in ("full", "off")
    )
    made = evidence_file(tmp_path, ALARM_ID)
    made.parent.mkdir()
    made.write_bytes(msgspec.json.encode(some_evidence()))
    (made.parent / f"{ALARM_ID}.html").write_text("report")
    assert evidence_of(full, ALARM_ID) == some_evidence() and report_file(full, ALARM_ID) is not None
    found = evidence_of(off, ALARM_ID)
    assert found is not None and found.capture == "off" and report_file(off, ALARM_ID) is None
    assert found.examples and all((each.question, each.answer, each.expected) == (None,) * 3 for each in found.examples)
    assert not any(each.slices for each in found.examples)
    assert (found.telling, [each.dimension for each in found.slices]) == (1, ["tenant", "tenant"])


SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
NAMES = own_names(Settings(console=ConsoleSettings(host="Ops.lan", public_url="https://console.example.org/tide")))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:18090", "localhost", "LOCALHOST:1", "[::1]:18090", "[::1]", "192.168.1.5:80"),
        *("ops.lan:8090", "console.example.org"),
    ],
)
def test_the_console_answers_to_its_own_names_and_to_addresses(host: str) -> None:
    assert is_own(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        *("", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "example.org", "[::1"),
        *("evil.example:18090", "[evil]", "x@localhost.evil", "2130706433", "0x7f.1"),
    ],
)
def test_it_answers_to_no_other_name(host: str) -> None:
    assert not is_own(host, NAMES)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The console beside a store that is away; a process can make one only."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "evidence").mkdir()
    (folder / "evidence" / f"{ALARM_ID}.html").write_text("report")
    away = Settings(data_dir=folder, clickhouse=ClickHouseSettings(url="http://127.0.0.1:9"))
    return TestClient(application(away, None))  # type: ignore[arg-type]


def test_no_such_alarm_and_no_store_are_told_apart(client: TestClient) -> None:
    own = {"host": "localhost"}
    assert client.get("/alarms/..%2Fsecrets", headers=own).status_code == 404
    gone = client.get(f"/alarms/{ALARM_ID}", headers=own)
    assert gone.status_code == 503 and "store" in gone.text
    assert "script" not in gone.headers["content-security-policy"]


def test_neither_page_nor_web_socket_is_open_under_another_name(client: TestClient) -> None:
    own, other = {"host": "localhost:18090"}, {"host": "evil.example"}
    assert client.get(f"/evidence/{ALARM_ID}", headers=own).text == "report"
    refused = client.get(f"/evidence/{ALARM_ID}", headers=other)
    assert refused.status_code == 400 and "console.public_url" in refused.text
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(SOCKET, headers=other):
        pass
    assert closed.value.code == 1008
