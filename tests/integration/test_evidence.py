"""An alarm gets its evidence and its report, made from real rows by the real library, once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest

from consumers.evidence import calls
from tests.integration.role_process import Role, environment_of
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.events import ThresholdData, ThresholdEvent
from tidemill.evidence import evidence_file, read
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import producer
from tidemill.settings import Settings
from tidemill.topics import THRESHOLDS

LONG = 1_000
"""Times that a question is long."""


@pytest.fixture
def deployment(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Settings:
    """The settings with the test store and a database of its own, its tables made."""
    clickhouse = settings.clickhouse.model_copy(
        update={"url": store.url, "database": unique("evidence").replace("-", "_")}
    )
    moved = settings.model_copy(update={"clickhouse": clickhouse})
    Store(moved).migrate()
    return moved


def _rows(settings: Settings, change_ms: int) -> None:
    """90 calls in one wording before the change, 90 in another after it, where every third, tenant acme's, is wrong.
    One call was sent twice, and one has a shadow's answer and score that are nobody's business here.
    """
    requests, responses, scores = [], [], []
    for number in range(180):
        late, acme = number >= 90, number % 3 == 0
        at = change_ms + (number - 90) * 100
        call = uuid7(at, number.to_bytes(10, "big"))
        text = f"meet at {'half past three' if late else '15:30'} in room {number % 9}"
        requests.append(
            {
                "call_id": call,
                "time_ms": at,
                "pipeline": "schedule",
                "tenant": "acme" if acme else "bolt",
                "gen_ai_input_messages": json.dumps(
                    [
                        {"role": "system", "content": "not shown"},
                        {"role": "user", "content": text},
                        {"role": "assistant", "content": "not shown"},
                        {"role": "user", "content": "ü x</script>" * LONG},
                    ]
                ),
                "input_features": [("chars", float(len(text)))],
            }
        )
        responses.append(
            {
                "call_id": call,
                "answer_id": call,
                "role": "client",
                "time_ms": at + 50,
                "call_time_ms": at,
                "pipeline": "schedule",
                "model_version": "schedule-v1",
                "variant": "champion",
                "status": "ok",
                "e2e_ms": 40.0 + number % 7,
                "gen_ai_output_text": "15:30",
            }
        )
        scores.append(
            {
                "feedback_id": f"score-{call}",
                "call_id": call,
                "time_ms": at + 60,
                "call_time_ms": at,
                "pipeline": "schedule",
                "kind": "score",
                "source": "scorer",
                "variant": "champion",
                "metric": "exact_match",
                "score": 0.0 if late and acme else 1.0,
                "value": None,
            }
        )
    requests.append(dict(requests[100]))
    shadow = {"answer_id": uuid7(change_ms, b"0123456789"), "role": "shadow", "variant": "shadow"}
    responses.append(responses[0] | shadow | {"e2e_ms": 9_999.0})
    scores.append(scores[0] | {"feedback_id": "of-the-shadow", "variant": "shadow", "score": 0.5, "time_ms": change_ms})
    label = {"feedback_id": "label", "kind": "label", "score": None, "value": "15:45", "metric": "", "source": "audit"}
    scores.append(scores[177] | label)
    features = pa.map_(pa.string(), pa.float64())
    column = pa.array([row.pop("input_features") for row in requests], type=features)
    table = pa.Table.from_pylist(requests).append_column("input_features", column)
    store = Store(settings)
    store.insert("requests", table, f"requests-{change_ms}")
    store.insert("responses", pa.Table.from_pylist(responses), f"responses-{change_ms}")
    store.insert("feedback", pa.Table.from_pylist(scores), f"feedback-{change_ms}")


@pytest.mark.timeout(600)
def test_firing_alarm_gets_its_report_once(deployment: Settings, kafka: str, fresh_topics: None) -> None:
    now = SystemClock().now_ms()
    _rows(deployment, now - 40_000)
    data = ThresholdData(
        state="firing",
        rule="quality",
        kind="quality",
        severity="page",
        pipeline="schedule",
        metric="quality",
        window_start_ms=now - 30_000,
        window_end_ms=now,
        change_time_ms=now - 40_000,
        alarm_id="alarm-1",
        started_ms=now,
        summary="quality fell <to> 0.0",
    )
    event = ThresholdEvent(
        id="alarm-1",
        source="test",
        type="tidemill.threshold.breached",
        subject="schedule//quality",
        time="now",
        time_ms=now - 30_000,
        data=data,
    )
    writer = producer(deployment, "test-evidence")
    for _ in range(2):
        writer.produce(THRESHOLDS.name, encode(event), b"schedule")
    writer.flush(10)
    folder = deployment.data_dir / "evidence"
    with Role("evidence", deployment, environment_of(deployment)) as evidence:
        evidence.start()
        until((folder / "alarm-1.html").exists, within_s=500, what="the report is there")
        made = (folder / "alarm-1.html").stat().st_mtime_ns
        evidence.ready()
        assert evidence.stop() == 0
    assert made == (folder / "alarm-1.html").stat().st_mtime_ns, "the same alarm again makes no second report"
    page = (folder / "alarm-1.html").read_text()
    assert "quality fell &lt;to&gt; 0.0" in page and 'src="http' not in page
    metrics = json.loads((folder / "alarm-1.json").read_text())["metrics"]
    drift = {
        metric["config"].get("column"): metric["value"] for metric in metrics if "ValueDrift" in metric["metric_name"]
    }
    assert {"score", "input_chars", "input_text"} <= set(drift)
    files = ["alarm-1.evidence.json", "alarm-1.html", "alarm-1.json"]
    assert sorted(path.name for path in folder.iterdir()) == files, "nothing left behind"
    found = read(evidence_file(deployment.data_dir, "alarm-1"))
    assert found is not None
    assert (found.figure, found.found, found.capture) == ("quality", "slice", "full")
    assert (found.slices[0].dimension, found.slices[0].value) == ("tenant", "acme")
    assert (found.before.calls, found.after.calls, found.before.mean) == (90, 90, 1.0), "each call once"
    assert found.after.mean == pytest.approx(2 / 3)
    first = found.examples[0]
    assert (first.figure, first.answer, first.expected) == (0.0, "15:30", "15:45")
    assert first.question is not None and first.question.startswith("meet at half past three")
    assert first.slices == {"tenant": "acme", "model_version": "schedule-v1", "variant": "champion"}
    asked = (Store(deployment), "schedule", "exact_match", now - 40_000)
    assert calls.before(*asked) == calls.before(*asked), "the same rows, the same calls"
    assert calls.before(*asked)[0].figures["e2e_ms"] == 40.0, "a client's answer, no shadow's"
    question = calls.before(*asked)[0].question or ""
    assert question.startswith("meet at 15:30 in room 0\nü x</script>ü") and len(question) == calls.MOST_CHARS
    assert "x</script>" not in page, "no user's words are markup of the report"
    of_slice = calls.before(*asked, "tenant=acme")
    assert len(of_slice) == 30 and {call.slices["tenant"] for call in of_slice} == {"acme"}
    assert calls.before(*asked, "tenant=acm") == calls.before(*asked, "attributes.language=de") == []
