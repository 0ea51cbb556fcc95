"""Quix Streams: a tumbling window of one second per message key (the pipeline), its own JSON deserializer."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from typing import Any

from quixstreams import Application

bootstrap, topic, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0
begun = (0.0, 0.0)


def first(event: dict[str, Any]) -> list[float]:
    return [1, event["gen_ai_usage_output_tokens"], event["e2e_ms"], event["e2e_ms"]]


def add(cell: list[float], event: dict[str, Any]) -> list[float]:
    latency = event["e2e_ms"]
    return [cell[0] + 1, cell[1] + event["gen_ai_usage_output_tokens"], cell[2] + latency, max(cell[3], latency)]


def event_time(value: dict[str, Any], _headers: Any, _timestamp: float, _kind: Any) -> int:
    global count, begun
    if count == 0:
        begun = time.monotonic(), time.process_time()
    count += 1
    if count == wanted:
        found = {"events": count, "seconds": time.monotonic() - begun[0], "cpu_s": time.process_time() - begun[1]}
        print(json.dumps(found), flush=True)
        os._exit(0)
    time_ms: int = value["time_ms"]
    return time_ms


app = Application(
    broker_address=bootstrap,
    consumer_group=f"peer-{uuid.uuid1().hex}",
    auto_offset_reset="earliest",
    state_dir=tempfile.mkdtemp(),
    use_changelog_topics=False,
    loglevel="ERROR",
)
source = app.topic(topic, key_deserializer="str", value_deserializer="json", timestamp_extractor=event_time)
app.dataframe(source).tumbling_window(1000, grace_ms=2000).reduce(add, first).final()
app.run()
