"""One pipeline from partials to rows and events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from streams.app.measures import Measures
from streams.partition import HEAD
from streams.pipeline import Outputs, _champion
from streams.pipeline_state import SCHEMA
from streams.windows.bucket import Closed
from streams.windows.tally import OTHER, Series, Tally
from tests.unit.streams.drawing import START_MS, Meter, Reader, answers, deployment, requests, score
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.events import Partial, Progress
from tidemill.settings import Settings

RULES = [
    {"name": "errors", "metric": "error_rate", "above": 0.2, "for_windows": 1, "min_count": 1},
    {"name": "quiet", "metric": "requests", "below": 1, "for_windows": 2},
]


def run(settings: Settings, *messages: Partial | Progress) -> Outputs:
    return Reader(settings).take(*messages)


def test_rows_carry_their_series() -> None:
    meter = Meter()
    cells = [requests(1, 3), answers(2, [5.0, 7.0]), answers(2, [9.0], variant="shadow", version="schedule-v2")]
    out = run(deployment(), meter.partial(cells), meter.progress(11))
    assert {(r.metric, r.model_version, r.variant, r.role, r.value) for r in out.windows if r.metric != "unpriced"} >= {
        ("requests", "", "champion", "client", 3.0),
        ("answers", "schedule-v1", "champion", "client", 2.0),
        ("answers", "schedule-v2", "shadow", "shadow", 1.0),
        ("e2e_ms", "schedule-v2", "shadow", "shadow", 9.0),
    }
    (row,) = [r for r in out.windows if r.metric == "requests"]
    assert (row.start_ms, row.end_ms, row.unit, row.complete) == (START_MS, START_MS + 10_000, "calls", True)
    assert row.time_ms == START_MS + 11_000, "the meter's clock: the same after a replay"


def test_traffic_that_stops_is_zero_requests_and_can_alarm() -> None:
    meter = Meter()
    out = run(deployment(rules=RULES), meter.partial([requests(1, 3)]), meter.progress(31))
    traffic = [(r.start_ms - START_MS, r.n, r.value) for r in out.windows if r.metric == "requests"]
    assert traffic == [(0, 3, 3.0), (10_000, 0, 0.0), (20_000, 0, 0.0)]
    assert [e.data.rule for e in out.events] == ["quiet"]
    assert out.events[0].data.kind == "traffic"


def test_a_pipeline_that_never_had_requests_reports_none() -> None:
    meter = Meter()
    out = run(deployment(), meter.partial([answers(1, [5.0])]), meter.progress(31))
    assert {r.metric for r in out.windows} == {"answers", "error_rate", "cancel_rate", "unpriced", "e2e_ms"}


def test_incomplete_windows_are_shown_and_not_judged() -> None:
    meter = Meter()
    bad = meter.partial([answers(1, [5.0] * 20, errors=20), requests(1, 20)])
    out = run(deployment(rules=RULES), bad, meter.progress(2, of=2), meter.progress(95, of=2))
    assert out.events == []
    assert [r.complete for r in out.windows if r.metric == "error_rate"] == [False]
    assert [r.value for r in out.windows if r.metric == "requests"] == [20.0], "what was not heard of is not zero"


@pytest.mark.parametrize("mode", ["keep", "ok", "alert"])
def test_a_silent_meter_is_no_fall_of_traffic_whatever_silence_means(mode: str) -> None:
    rules = [
        {"name": "quiet", "metric": "requests", "below": 1, "for_windows": 1, "no_data": mode},
        {"name": "unheard", "metric": "error_rate", "above": 0.5, "for_windows": 1, "no_data": mode},
    ]
    meter, reader = Meter(), Reader(deployment(rules=rules, silent_s=60))
    heard = meter.partial([requests(1, 20), answers(1, [5.0] * 20)])
    assert reader.take(heard, meter.progress(12, partitions=[0, 1])).events == []
    (fold,) = reader.fold
    before = fold.windows.next_ms or 0
    assert reader.take(*(meter.progress(second, of=2, name="other") for second in range(20, 200, 5))).events == []
    assert (fold.windows.next_ms or 0) > before + 100_000, "ten windows have gone out, incomplete"


def test_late_data_corrects_rows_and_calls_no_rule() -> None:
    meter = Meter()
    out = run(
        deployment(rules=RULES),
        meter.partial([answers(1, [5.0] * 20)]),
        meter.progress(11),
        meter.partial([answers(1, [5.0] * 20, errors=20)]),
        meter.progress(12),
    )
    assert [(r.revision, r.value) for r in out.windows if r.metric == "error_rate"] == [(0, 0.0), (1, 0.5)]
    assert out.events == []


def test_rules_see_all_versions_of_the_clients_together_and_no_shadow() -> None:
    meter = Meter()
    cells = [
        answers(1, [5.0] * 75),
        answers(1, [5.0] * 25, errors=25, variant="canary", version="schedule-v2"),
        answers(1, [5.0] * 500, errors=500, variant="shadow", version="schedule-v3"),
    ]
    out = run(deployment(rules=RULES), meter.partial(cells), meter.progress(11))
    (event,) = out.events
    assert (event.data.value, event.data.severity, event.data.metric) == (0.25, "page", "error_rate")


def test_quality_hears_the_pipelines_metric_of_client_answers_only() -> None:
    def story(**fields: Any) -> Outputs:
        meter = Meter()
        messages: list[Partial | Progress] = []
        for second in range(100):
            points = [
                score(second + i / 5, float(second < 60), feedback_id=f"{second}-{i}", **fields) for i in range(5)
            ]
            messages += [meter.partial([answers(second, [1.0])], points), meter.progress(second + 1)]
        return run(deployment(), *messages)

    (event,) = story().events
    assert (event.data.rule, event.data.kind, event.data.variant) == ("quality", "quality", "")
    assert event.data.change_time_ms == START_MS + 60_000
    assert story(variant="shadow").events == []
    assert story(metric="thumb").events == []
    assert len(story(variant="canary").events) == 1


def test_the_same_feedback_counts_once_while_it_waits() -> None:
    meter = Meter()
    fold = Reader(deployment())
    twice = [score(1, 1.0, feedback_id="f"), score(1, 1.0, feedback_id="f")]
    fold.take(meter.partial([answers(1, [1.0])], twice))
    fold.take(meter.progress(3))
    (pipeline,) = fold.fold
    assert len(pipeline.quality.scores) == 1


def test_a_rule_taken_out_of_the_settings_ends_its_alarm() -> None:
    meter = Meter()
    fold = Reader(deployment(rules=RULES))
    fold.take(meter.partial([answers(1, [5.0], errors=1)]))
    (fired,) = fold.take(meter.progress(11)).events
    again = Reader(deployment(), dict(fold.fold.changed()), fold.offset)
    (ended,) = again.take(meter.progress(21)).events
    assert (ended.data.state, ended.data.alarm_id) == ("resolved", fired.id)
    assert "no longer in the settings" in ended.data.summary


def test_a_pipeline_that_is_not_in_the_settings_has_windows() -> None:
    meter = Meter("stranger")
    out = run(deployment(), meter.partial([requests(1, 3)]), meter.progress(11))
    assert [r.pipeline for r in out.windows] == ["stranger"]


def test_word_metrics_follow_once_there_is_a_reference() -> None:
    meter = Meter()
    messages: list[Partial | Progress] = []
    for second in range(0, 120, 2):
        cell = requests(second, 10, chars=[50.0] * 10, words={1: 50, 2 + second % 3: 50})
        messages += [meter.partial([cell]), meter.progress(second + 2)]
    out = run(deployment(), *messages)
    rows = [r for r in out.windows if r.metric == "input_word_distance"]
    assert rows
    assert all(0 <= (r.value or 0) < 0.2 and r.n == 500 for r in rows)
    assert min(r.start_ms for r in rows) > START_MS, "none while the reference is gathered"


def test_a_language_that_comes_in_is_a_figure_and_a_notice() -> None:
    meter = Meter()
    messages: list[Partial | Progress] = []
    for second in range(0, 800, 2):
        german = 6 if second >= 600 else 0
        cell = requests(second, 20, chars=[50.0] * 18, languages={"en": 18 - german, "de": german})
        messages += [meter.partial([cell]), meter.progress(second + 2)]
    out = run(deployment(), *messages)
    rows = [r for r in out.windows if r.metric == "input_language_mismatch"]
    assert {(r.unit, r.sample_share) for r in rows} == {("share", 0.9)}
    assert {r.value for r in rows if r.start_ms < START_MS + 600_000} == {0.0}
    assert {r.value for r in rows if r.start_ms >= START_MS + 600_000} == {1 / 3}
    assert min(r.start_ms for r in rows) > START_MS, "none while the reference is gathered"
    (event,) = [e for e in out.events if e.data.metric == "input_language_mismatch"]
    assert (event.data.rule, event.data.kind, event.data.state) == ("drift_input_language_mismatch", "drift", "firing")
    assert event.data.change_time_ms == pytest.approx(START_MS + 600_000, abs=10_000)


def test_only_changed_states_are_written() -> None:
    meter, other = Meter(), Meter("support")
    fold = Reader(deployment())
    fold.take(meter.partial([requests(1, 3)]))
    fold.take(other.partial([requests(1, 3)], partition=1))
    assert set(dict(fold.fold.changed())) == {HEAD, "schedule", "support"}
    assert set(dict(fold.fold.changed())) == {HEAD}
    fold.take(other.partial([requests(2, 3)], partition=1))
    assert set(dict(fold.fold.changed())) == {HEAD, "support"}
    fold.take(other.progress(3, partitions=[0, 1]))
    assert set(dict(fold.fold.changed())) == {HEAD}, "progress that closes nothing is not worth a record"


def test_what_is_late_or_ahead_is_counted_once_for_all_to_see() -> None:
    meter, clock = Meter(), ManualClock(START_MS)
    first = Reader(deployment())
    begun = (meter.partial([requests(3, 1)]), meter.progress(41))
    late, far = meter.partial([answers(4, [3.0, 3.0])]), meter.partial([requests(100_000, 3)])
    for message in (*begun, late, far, far):
        first.take(message)
    assert first.fold.misplaced == {"late": 2, "ahead": 3}
    measures, before = Measures(clock), misplaced()
    measures.stepped(5, {0: first.fold})
    measures.stepped(0, {0: first.fold})
    assert {why: count - before[why] for why, count in misplaced().items()} == {"late": 2, "ahead": 3}
    restored = Reader(deployment(), dict(first.fold.changed()), first.offset)
    restored.take(late)
    assert not +restored.fold.misplaced, "counted before the restart"


def test_a_watermark_ahead_of_the_clock_is_said() -> None:
    meter, clock = Meter(), ManualClock(START_MS)
    right, ahead = Reader(deployment()), Reader(deployment())
    right.take(meter.partial([requests(3, 1)]), meter.progress(5))
    ahead.take(meter.partial([requests(3, 1)]), meter.progress(3_600.5))
    measures = Measures(clock)
    measures.stepped(4, {0: right.fold, 1: ahead.fold})
    gauges = [f"tidemill_streams_watermark_{name}_seconds" for name in ("age", "ahead")]
    assert [REGISTRY.get_sample_value(name) for name in gauges] == [-4.5, 3_600]
    clock.advance(3_610_000)
    measures.aged()
    assert [REGISTRY.get_sample_value(name) for name in gauges] == [3_605.5, 0]


def misplaced() -> dict[str, float]:
    """The counter as Prometheus would read it."""
    name = "tidemill_streams_misplaced_total"
    return {why: REGISTRY.get_sample_value(name, {"why": why}) or 0.0 for why in ("late", "ahead")}


def test_answers_counted_together_are_no_champion() -> None:
    few = {Series("v1").key: Tally(answers=5), Series(OTHER).key: Tally(answers=500)}
    assert _champion(Closed(0, 0, True, few)) == "v1"


def written(reader: Reader) -> list[Any]:
    """The parts of the pipeline's state, by place."""
    parts: list[Any] = msgspec.msgpack.decode(dict(reader.fold.changed())["schedule"][8:], strict=False)
    return parts


def restored(parts: list[Any]) -> Reader:
    """A reader that begins with this state of the pipeline."""
    return Reader(deployment(rules=RULES), {"schedule": bytes(8) + msgspec.msgpack.encode(parts)})


def test_a_state_of_the_schema_before_is_read_and_goes_on_as_the_present_one() -> None:
    meter, reader = Meter(), Reader(deployment(rules=RULES))
    reader.take(meter.partial([answers(1, [5.0], errors=1)]))
    (fired,) = reader.take(meter.progress(11)).events
    parts = written(reader)
    assert (parts[0], len(parts)) == (SCHEMA, 11)
    again = restored([2, *parts[1:6]])
    (ended,) = again.take(meter.partial([answers(12, [5.0])]), meter.progress(21)).events
    assert (ended.data.state, ended.data.alarm_id) == ("resolved", fired.id)
    after = written(again)
    assert (after[0], len(after)) == (SCHEMA, 11)


def test_open_alarms_of_the_detectors_before_are_closed_by_the_present_ones() -> None:
    """Schema 3: ADWIN's record beside the scores, CUSUM's sums beside the levels, batches with moments."""
    meter, reader = Meter(), Reader(deployment(rules=RULES))
    reader.take(meter.partial([answers(1, [5.0])]), meter.progress(11))
    alarm = {"started_ms": START_MS, "value": 0.2, "threshold": 0.85, "reference": 0.95}
    adwin = {"river": "0.21", "parameters": [0.002], "record": b"..."}
    quality = {"adwin": adwin, "times": [START_MS], "scores": [0.0], "alarm": alarm | {"alarm_id": "q"}}
    notice = {"alarm_id": "d", "started_ms": START_MS, "value": 99.0, "threshold": 60.0, "reference": 50.0}
    drift = {
        "champion": "schedule-v1",
        "batch": {"calls": 3, "words": {1: 3}, "moments": {"input_chars": [3, 150.0, 7500.0]}},
        "reference": {1: 200},
        "watches": {"input_chars": {"level": [50.0, 5.0], "cusum": {"up": 1.0}, "alarm": notice}},
    }
    again = restored([3, written(reader)[1], quality, drift, {}, []])
    told = []
    for second in range(12, 200):
        points = [score(second + i / 5, 1.0, feedback_id=f"{second}-{i}") for i in range(5)]
        cells = [requests(second, 10, chars=[50.0] * 10, words={1: 10}), answers(second, [5.0])]
        told += again.take(meter.partial(cells, points), meter.progress(second + 1)).events
    assert {(e.data.rule, e.data.state, e.data.alarm_id) for e in told} == {
        ("quality", "resolved", "q"),
        ("drift_input_chars", "resolved", "d"),
    }


def test_a_state_that_a_later_version_wrote_is_refused() -> None:
    meter, reader = Meter(), Reader(deployment())
    reader.take(meter.partial([requests(1, 3)]))
    parts = written(reader)
    with pytest.raises(Stop, match=r"state of pipeline 'schedule' has schema 7, .* up to 6: .* run that version again"):
        restored([SCHEMA + 1, "another", "shape", *parts[1:]])
