"""The gateway against a real broker: clients are served, and every outcome leaves exactly one event."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.integration.gateway_process import Stage, make_stage, stage  # noqa: F401
from tests.waiting import until
from tidemill.codec import encode
from tidemill.events import Arm, Route, Shadow
from tidemill.io import kafka as broker
from tidemill.topics import FEEDBACK, GATEWAYS, REQUESTS, RESPONSES, ROUTES

_epochs = itertools.count(1)


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "talk", "messages": [{"role": "user", "content": text}], **more}


def responses(stage: Stage, count: int) -> list[Any]:  # noqa: F811
    return until(lambda: len(found := stage.events(RESPONSES)) >= count and found, what=f"{count} responses")


def requests(stage: Stage, count: int) -> list[Any]:  # noqa: F811
    """They lie in another topic, and may be there a moment after the responses."""
    return until(lambda: len(found := stage.events(REQUESTS)) >= count and found, what=f"{count} requests")


def route(stage: Stage, canary: int, *, shadow: bool = False, model: str = "talk-v2") -> Route:  # noqa: F811
    """Publish a route of ``talk`` with this canary weight."""
    arms = [Arm(variant="champion", model_version="talk-v1", model="talk-v1", engine="main", weight=100 - canary)]
    if canary:
        arms.append(Arm(variant="canary", model_version="talk-v2", model=model, engine="main", weight=canary))
    made = Route(
        pipeline="talk",
        epoch=next(_epochs),
        time_ms=1,
        arms=tuple(arms),
        shadow=Shadow(model_version="talk-v3", model="talk-v3", engine="main") if shadow else None,
        reason="test",
        rollout_id="r1",
    )
    producer = broker.producer(stage.settings, "test-routes")
    producer.produce(ROUTES.name, encode(made), made.pipeline)
    assert producer.flush(10) == 0
    return made


def epochs(stage: Stage) -> int:  # noqa: F811
    said = stage.events(GATEWAYS)
    return said[-1].epochs.get("talk", 0) if said else -1


def test_the_openai_client_works_unchanged_plain_and_streaming(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    client = stage.client()
    assert {model.id for model in client.models.list()} == {"talk", "private", "twice", "silent"}
    plain = client.chat.completions.create(**ask("one two three"), user="ann", logprobs=True)
    assert plain.choices[0].message.content == "one two three"
    assert plain.model == "talk"
    assert plain.usage is not None and plain.usage.completion_tokens == 3
    stream = client.chat.completions.create(**ask("four five"), stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "four five"
    assert chunks[-1].usage is not None
    assert {chunk.model for chunk in chunks} == {"talk"}
    assert len({chunk.id for chunk in chunks}) == 1
    bare = list(client.chat.completions.create(**ask("six"), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in bare)

    rows = {row.gen_ai_output_text: row for row in responses(stage, 3)}
    first = rows["one two three"]
    assert (first.status, first.model_version, first.variant, first.route_epoch) == ("ok", "talk-v1", "champion", 0)
    assert first.answer_id == first.call_id
    assert first.gen_ai_conversation_id == "ann"
    assert first.gen_ai_usage_cached_tokens == 4
    assert first.cost_micros == 6 * 1 + 4 * 0.5 + 3 * 2
    assert first.mean_logprob == pytest.approx(-0.5)
    assert 0 <= first.queue_ms <= first.ttft_ms <= first.e2e_ms
    assert rows["four five"].tpot_ms is not None
    asked = {row.call_id: row for row in requests(stage, len(rows))}
    assert set(asked) == {row.call_id for row in rows.values()}
    assert asked[first.call_id].input_features["words"] == 3
    assert asked[first.call_id].gen_ai_input_messages[0].content == "one two three"
    assert stage.engine.bodies[0]["messages"][0] == {"role": "system", "content": "be brief"}


def test_every_outcome_gives_exactly_one_response_event(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    want = {
        "fine": (200, "ok", ""),
        "refuse": (400, "rejected", "upstream_rejected"),
        "broken": (502, "error", "upstream_500"),
        "cut": (502, "error", "upstream_cut"),
        "hang": (504, "timeout", "timeout_first_token"),
        "crawl " * 30 + "x": (504, "timeout", "timeout"),
    }
    with stage.http() as http:
        for text, (status, _, _) in want.items():
            answer = http.post("/v1/chat/completions", json=ask(text))
            assert answer.status_code == status, text
            if status != 200:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
                assert "talk-v1" not in answer.text
        assert http.post("/v1/chat/completions", json=ask("x", top_q=1)).status_code == 400
        with http.stream("POST", "/v1/chat/completions", json=ask("crawl a b c d e f g", stream=True)) as gone:
            next(gone.iter_lines())
        with http.stream("POST", "/v1/chat/completions", json=ask("cut", stream=True)) as cut:
            lines = [line for line in cut.iter_lines() if line]
        assert "error" in lines[-1] and "[DONE]" not in "".join(lines)
    rows = responses(stage, len(want) + 3)
    got = Counter((row.status, row.error_type) for row in rows)
    expected = Counter((status, kind) for _, status, kind in want.values())
    expected += Counter(
        {("rejected", "unknown_parameter"): 1, ("cancelled", "client_left"): 1, ("error", "upstream_cut"): 1}
    )
    assert got == expected
    assert sorted(row.call_id for row in rows) == sorted(row.call_id for row in requests(stage, len(rows)))


def test_a_client_that_leaves_a_plain_call_is_noted_as_cancelled(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    with stage.http() as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/chat/completions", json=ask("crawl a b c d e f"), timeout=0.5)
    (row,) = responses(stage, 1)
    assert (row.status, row.error_type, row.http_status) == ("cancelled", "client_left", 499)
    assert row.e2e_ms < 2_000


def test_who_has_no_key_gets_nothing_and_leaves_no_event(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    for headers in ({}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": stage.key}):
        for method, path in (("POST", "/v1/chat/completions"), ("POST", "/v1/feedback"), ("GET", "/v1/models")):
            answer = httpx.request(method, stage.url + path, headers=headers, json=ask("x"), trust_env=False)
            assert answer.status_code == 401
            assert answer.json()["error"]["type"] == "authentication_error"
    with stage.http() as http:
        for path in ("/v1/load_lora_adapter", "/metrics", "/docs", "/health", "/v1/completions"):
            assert http.post(path, json={}).status_code == 404
        assert (
            http.post("/v1/chat/completions", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        )
        assert http.post("/v1/chat/completions", json=ask("x" * 100_001)).status_code == 413
        assert http.post("/v1/chat/completions", json={"model": "gpt-9", "messages": []}).status_code == 404
        assert http.post("/v1/chat/completions", json=ask("fine")).status_code == 200
    assert len(responses(stage, 1)) == len(requests(stage, 1)) == 1


def test_routes_come_into_force_within_a_second_and_sessions_stick(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    stage.engine.loaded |= {"talk-v2"}
    client = stage.client()

    def seen(count: int) -> dict[str, str]:
        """Which model answered which session."""
        stage.engine.bodies.clear()
        answers = {}
        for index in range(count):
            client.chat.completions.create(**ask("x"), user=f"s{index}")
            answers[f"s{index}"] = stage.engine.bodies[-1]["model"]
        return answers

    def canary_now() -> bool:
        client.chat.completions.create(**ask("x"), user="probe")
        return bool(stage.engine.bodies[-1]["model"] == "talk-v2")

    until(lambda: epochs(stage) == 0, what="the gateway says its first epoch")
    route(stage, 100)
    until(canary_now, within_s=1.0, what="the route in force")
    made = route(stage, 30)
    until(lambda: epochs(stage) == made.epoch, what="the gateway says the epoch")
    first = seen(60)
    assert first == seen(60)
    canaries = {name for name, model in first.items() if model == "talk-v2"}
    assert 6 <= len(canaries) <= 32
    made = route(stage, 60)
    until(lambda: epochs(stage) == made.epoch, what="the gateway says the epoch")
    assert canaries <= {name for name, model in seen(60).items() if model == "talk-v2"}


def test_a_model_the_engine_does_not_have_is_asked_of_the_champion(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    made = route(stage, 100)
    until(lambda: epochs(stage) == made.epoch, what="the route in force")
    answer = stage.client().chat.completions.create(**ask("hello"))
    assert answer.choices[0].message.content == "hello"
    (row,) = responses(stage, 1)
    assert (row.status, row.model_version, row.variant) == ("ok", "talk-v1", "champion")
    assert row.route_reason == "fallback: talk-v2 not loaded"
    stage.engine.loaded.clear()
    with pytest.raises(openai.InternalServerError):
        stage.client().chat.completions.create(**ask("hello"))


def test_shadows_answer_unseen_at_low_priority(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    stage.engine.loaded |= {"talk-v3"}
    made = route(stage, 0, shadow=True)
    until(lambda: epochs(stage) == made.epoch, what="the route in force")
    client = stage.client()
    for index in range(5):
        client.chat.completions.create(**ask(f"hello {index}"))
    rows = responses(stage, 10)
    shadows = [row for row in rows if row.role == "shadow"]
    clients = {row.call_id: row for row in rows if row.role == "client"}
    assert len(shadows) == len(clients) == 5
    for row in shadows:
        assert (row.variant, row.model_version, row.status) == ("shadow", "talk-v3", "ok")
        assert row.answer_id != row.call_id
        assert row.gen_ai_output_text == clients[row.call_id].gen_ai_output_text
    assert {body["model"]: body.get("priority", 0) for body in stage.engine.bodies} == {"talk-v1": 0, "talk-v3": 10}
    until(lambda: stage.events(GATEWAYS)[-1].in_flight == {}, what="nothing in flight")


def test_the_champion_answers_once_more_unseen_and_how_far_it_agrees_is_kept(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    client = stage.client()
    for text in ("sure of it", "doubt it"):
        asked = client.chat.completions.create(model="twice", messages=[{"role": "user", "content": text}])
        assert asked.choices[0].message.content == text and asked.choices[0].logprobs is None
    rows = responses(stage, 4)
    said = {row.call_id: row.gen_ai_output_text for row in rows if row.role == "client"}
    seconds = [row for row in rows if row.role == "shadow"]
    assert {said[row.call_id]: row.output_features["agreement"] for row in seconds} == {"sure of it": 1, "doubt it": 0}
    assert {(row.model_version, row.variant, row.gen_ai_output_text) for row in seconds} == {
        ("twice-v1", "shadow", None)
    }
    assert all(row.cost_micros for row in rows)
    assert sorted(body.get("priority", 0) for body in stage.engine.bodies) == [0, 0, 10, 10]
    assert len({body["seed"] for body in stage.engine.bodies if body["temperature"]}) == 2


def test_feedback_is_attributed_and_a_forged_id_goes_to_the_dead_letters(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    answer = stage.client().chat.completions.create(**ask("x"))
    with stage.http() as http:
        assert http.post("/v1/feedback", json={"id": answer.id, "thumb": True}).status_code == 202
        label = {"id": answer.id, "label": "tue 15:30", "source": "audit"}
        assert http.post("/v1/feedback", json=label).json()["error"]["code"] == "source_needs_audit_key"
        assert http.post("/v1/feedback", json=label, headers=stage.audit_headers).status_code == 202
        forged = answer.id[:-4] + ("aaaa" if answer.id[-4:] != "aaaa" else "bbbb")
        bad = http.post("/v1/feedback", json={"id": forged, "thumb": True})
        assert bad.status_code == 404
        assert bad.json()["error"]["code"] == "unknown_completion"
        assert http.post("/v1/feedback", json={"id": answer.id}).status_code == 400
        assert http.post("/v1/feedback", json={"id": answer.id, "score": 0.1, "source": "scorer"}).status_code == 400
    rows = until(lambda: len(found := stage.events(FEEDBACK)) >= 2 and found, what="the feedback")
    (answered,) = responses(stage, 1)
    assert [(row.kind, row.metric, row.score, row.value, row.source) for row in sorted(rows, key=lambda r: r.kind)] == [
        ("label", "", None, "tue 15:30", "audit"),
        ("thumb", "thumb", 1.0, None, "user"),
    ]
    assert {(row.call_id, row.model_version, row.variant) for row in rows} == {
        (answered.call_id, "talk-v1", "champion")
    }
    (_, value, headers), *more = until(lambda: stage.messages(FEEDBACK.dlq), what="the dead letter")
    assert not more
    said = json.loads(value)
    assert (said["id"], said["fields"]) == (forged, ["id", "thumb"]), "its body is kept under full capture only"
    assert b"not authentic" in dict(headers)["__connect.errors.exception.message"]


def test_what_may_not_be_kept_does_not_leave_the_gateway(stage: Stage) -> None:  # noqa: F811
    stage.gateway()
    secret = "mail ann@example.org or call +41 44 668 18 00"
    client = stage.client()
    for model in ("private", "silent"):
        said = client.chat.completions.create(model=model, messages=[{"role": "user", "content": secret}])
        assert said.choices[0].message.content == secret
    rows = {row.pipeline: row for row in responses(stage, 2)}
    asked = {row.pipeline: row for row in requests(stage, 2)}
    assert rows["private"].gen_ai_output_text == "mail [email] or call [number]"
    assert asked["private"].gen_ai_input_messages[0].content == "mail [email] or call [number]"
    assert asked["silent"].gen_ai_input_messages is rows["silent"].gen_ai_output_text is None
    assert asked["silent"].input_features["chars"] == rows["silent"].output_features["chars"] == len(secret)
    assert {row.input_language for row in (*asked.values(), *rows.values())} == {"en"}
    for topic in (REQUESTS.name, RESPONSES.name):
        assert not any(b"ann@" in value for _, value, _ in stage.messages(topic))
    assert secret not in stage.roles[0].log.read_text()


def test_a_full_spool_refuses_calls_and_kafka_away_does_not(tmp_path: Path, kafka: str) -> None:
    """Kafka away at start without any copy of the routes: the gateway says why it does not serve."""
    made = make_stage(tmp_path, "127.0.0.1:1", spool_bytes=2**20)
    try:
        made.gateway(ready=False)
        until(lambda: "routes" in made.roles[0].readiness(), within_s=120, what="it listens")
        with made.http() as http:
            answer = until(lambda: _post(http, ask("x")), what="an answer")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "routes_unknown"
            first = Route(
                pipeline="talk",
                epoch=7,
                time_ms=1,
                arms=(Arm(variant="champion", model_version="talk-v1", model="talk-v1", engine="main", weight=100),),
            )
            (made.settings.data_dir / "gateway" / "routes.json").write_bytes(encode((first,)))
            until(lambda: made.roles[0].readiness() == "ready", within_s=60, what="the copy on disk is used")
            assert http.post("/v1/chat/completions", json=ask("x")).status_code == 200
            statuses = [http.post("/v1/chat/completions", json=ask("x" * 90_000)).status_code for _ in range(8)]
            assert statuses[0] == 200
            assert statuses[-1] == 503
            full = http.post("/v1/chat/completions", json=ask("x"))
            assert full.json()["error"]["code"] == "spool_full"
            assert "gateway.spool_bytes" in full.json()["error"]["message"]
    finally:
        made.close()


def _post(http: httpx.Client, body: dict[str, Any]) -> httpx.Response | None:
    try:
        return http.post("/v1/chat/completions", json=body)
    except httpx.ConnectError:
        return None
