"""Kafka goes away while the gateway serves: clients do not notice, and nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.integration.gateway_process import make_stage
from tests.waiting import until
from tidemill.io.topic_admin import ensure_topics
from tidemill.local import kafka as broker
from tidemill.local.process import Children, Process
from tidemill.topics import REQUESTS, RESPONSES


def test_calls_are_answered_without_kafka_and_their_events_follow(tmp_path: Path, children: Children) -> None:
    stage = make_stage(tmp_path, "")
    settings = stage.settings
    broker.prepare(settings)
    process = Process("kafka", tuple(broker.argv(settings)))

    def start_broker() -> object:
        started = children.start(process, tmp_path / "kafka.log")
        until(lambda: broker.answers(settings), within_s=120, what="the broker answers")
        return started

    try:
        running = start_broker()
        ensure_topics(settings)
        gateway = stage.gateway()
        client = stage.client()

        def call(count: int) -> None:
            for _ in range(count):
                client.chat.completions.create(model="talk", messages=[{"role": "user", "content": "hi"}])

        call(5)
        until(lambda: len(stage.events(RESPONSES)) == 5, within_s=60, what="the first answers on Kafka")
        children.stop(running, 20)  # type: ignore[arg-type]
        call(20)
        assert gateway.readiness() == "ready"
        running = start_broker()
        call(5)
        rows = until(lambda: len(found := stage.events(RESPONSES)) >= 30 and found, within_s=120, what="all answers")
        assert max(Counter(row.answer_id for row in rows).values()) == 1
        until(lambda: len({row.call_id for row in stage.events(REQUESTS)}) == 30, what="all calls")
        assert len(rows) == 30
        assert gateway.stop() == 0
        children.stop(running, 20)  # type: ignore[arg-type]
    finally:
        stage.close()
