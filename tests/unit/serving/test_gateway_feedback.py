"""Feedback: what is read from a request, whose it may be, and when two of them are one."""

from __future__ import annotations

from typing import Any

import pytest

from serving.gateway.errors import CallError
from serving.gateway.feedback import read_feedback
from tidemill.ids import Routing, uuid7
from tidemill.settings import PipelineSettings
from tidemill.settings.pipeline import QualitySettings

CALL_ID = uuid7(1_700_000_000_000, b"0123456789")
FULL = PipelineSettings(engine="main", champion="talk-v1")
PRIVATE = PipelineSettings(engine="main", champion="talk-v1", capture="redacted")
SILENT = PipelineSettings.model_validate(
    {"engine": "main", "champion": "talk-v1", "capture": "off", "retrain": {"enabled": False}}
)
ROUTING = Routing(CALL_ID, "talk", "talk-v1", "canary", 5)


@pytest.mark.parametrize(
    ("given", "kind", "metric", "score", "value"),
    [
        ({"thumb": "down"}, "thumb", "thumb", 0.0, None),
        ({"thumb": 1.0}, "thumb", "thumb", 1.0, None),
        ({"score": 0.5, "metric": "helpful"}, "rating", "helpful", 0.5, None),
        ({"score": 1, "source": "judge:big"}, "judge", "rating", 1.0, None),
        ({"correction": {"a": 1}}, "correction", "", None, '{"a":1}'),
        ({"label": "x"}, "label", "", None, "x"),
    ],
)
def test_feedback(given: dict[str, Any], kind: str, metric: str, score: float | None, value: str | None) -> None:
    row = read_feedback({"id": "x"} | given, ROUTING, {"talk": FULL}, now_ms=9)
    assert (row.kind, row.metric, row.score, row.value) == (kind, metric, score, value)
    assert (row.call_id, row.variant, row.call_time_ms, row.time_ms) == (CALL_ID, "canary", 5, 9)


def test_feedback_counts_in_the_slices_that_the_id_says() -> None:
    sliced = ROUTING._replace(slices={"tenant": "acme"})
    rows = [read_feedback({"id": "x", "thumb": "up"}, of, {"talk": FULL}, now_ms=9) for of in (sliced, ROUTING)]
    assert [row.slices for row in rows] == [{"tenant": "acme"}, {}]
    assert rows[0].feedback_id == rows[1].feedback_id


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"thumb": 0.5},
        {"thumb": [1]},
        {"thumb": "sideways"},
        {"score": 1.1},
        {"score": True},
        {"score": float("nan")},
        {"thumb": True, "score": 1},
        {"thumb": True, "source": "scorer"},
        {"thumb": True, "source": ""},
        {"thumb": True, "extra": 1},
    ],
)
def test_wrong_feedback_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(CallError):
        read_feedback({"id": "x"} | given, ROUTING, {"talk": FULL}, now_ms=9)


def test_a_source_that_some_gate_trusts_needs_an_audit_key() -> None:
    pipelines = {"other": FULL, "talk": FULL.model_copy(update={"quality": QualitySettings(trusted_sources=("crm",))})}
    for source in ("audit", "crm"):
        label = {"id": "x", "label": "y", "source": source}
        with pytest.raises(CallError, match=r"quality\.trusted_sources.*secrets/audit\.keys") as refused:
            read_feedback(label, ROUTING, pipelines, now_ms=9)
        assert refused.value.http_status == 403
        assert read_feedback(label, ROUTING, pipelines, now_ms=9, trusted=True).source == source
    read_feedback({"id": "x", "label": "y"}, ROUTING, pipelines, now_ms=9)


def test_feedback_text_follows_the_capture_setting() -> None:
    label = {"id": "x", "label": "to ann@example.org"}
    assert read_feedback(label, ROUTING, {"talk": PRIVATE}, now_ms=9).value == "to [email]"
    with pytest.raises(CallError, match="capture is 'off'"):
        read_feedback(label, ROUTING, {"talk": SILENT}, now_ms=9)


def test_feedback_sent_twice_under_one_key_is_one() -> None:
    first, again = (read_feedback({"thumb": True}, ROUTING, {"talk": FULL}, now_ms=n, once="k") for n in (9, 10))
    other = read_feedback({"thumb": True}, ROUTING, {"talk": FULL}, now_ms=9)
    assert first.feedback_id == again.feedback_id != other.feedback_id


def test_the_same_judgement_again_is_the_same_feedback() -> None:
    def given(routing: Routing = ROUTING, **said: Any) -> str:
        return read_feedback({"id": "x"} | said, routing, {"talk": FULL}, now_ms=len(said), trusted=True).feedback_id

    assert given(thumb="down") == given(thumb=False)
    assert given(label="a") == given(label="a", metric_version="2")
    different = [
        given(thumb=True),
        given(thumb=False),
        given(thumb=True, source="client"),
        given(thumb=True, routing=ROUTING._replace(call_id=CALL_ID[:-1] + "0")),
        given(score=1),
        given(score=1, metric="helpful"),
        given(label="a"),
        given(label="a", source="audit"),
        given(correction="a"),
        given(label="audit\x1flabel"),
        given(label="label", source="user\x1faudit"),
    ]
    assert len(set(different)) == len(different)


def test_a_score_under_the_quality_metric_needs_an_audit_key() -> None:
    score = {"id": "x", "score": 0.0, "metric": "exact_match"}
    with pytest.raises(CallError, match=r"quality\.metric.*send the label.*secrets/audit\.keys") as refused:
        read_feedback(score, ROUTING, {"talk": FULL}, now_ms=9)
    assert (refused.value.http_status, refused.value.code) == (403, "metric_needs_audit_key")
    assert read_feedback(score, ROUTING, {"talk": FULL}, now_ms=9, trusted=True).metric == "exact_match"
    judged = {"talk": FULL.model_copy(update={"quality": QualitySettings(metric="judge")})}
    given = {"id": "x", "score": 0.7, "metric": "judge", "source": "judge:large"}
    with pytest.raises(CallError, match=r"which moves alarms; name another metric"):
        read_feedback(given, ROUTING, judged, now_ms=9)
    row = read_feedback(given, ROUTING, judged, now_ms=9, trusted=True)
    assert (row.kind, row.metric, row.score, row.source) == ("judge", "judge", 0.7, "judge:large")
    thumbs = FULL.model_copy(update={"quality": QualitySettings(metric="thumb")})
    assert read_feedback({"id": "x", "thumb": True}, ROUTING, {"talk": thumbs}, now_ms=9).metric == "thumb"
    with pytest.raises(CallError):
        read_feedback({"id": "x", "score": 1.0, "metric": "thumb"}, ROUTING, {"talk": thumbs}, now_ms=9)
