"""Faust: one agent, one event at a time, its own JSON codec; sums in a dictionary."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid

import faust

bootstrap, topic, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
app = faust.App(
    f"peer-{uuid.uuid1().hex}",
    broker=f"kafka://{bootstrap}",
    store="memory://",
    datadir=tempfile.mkdtemp(),
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
)
source = app.topic(topic, value_serializer="json", key_serializer="raw")
sums: dict[tuple[str, int], list[float]] = {}
begun = (0.0, 0.0)


@app.agent(source)
async def fold(events: faust.Stream) -> None:
    global begun
    count = 0
    async for event in events:
        if count == 0:
            begun = time.monotonic(), time.process_time()
        cell = sums.setdefault((event["pipeline"], event["time_ms"] // 1000), [0, 0, 0.0, 0.0])
        cell[0] += 1
        cell[1] += event["gen_ai_usage_output_tokens"]
        cell[2] += event["e2e_ms"]
        cell[3] = max(cell[3], event["e2e_ms"])
        count += 1
        if count == wanted:
            found = {"events": count, "seconds": time.monotonic() - begun[0], "cpu_s": time.process_time() - begun[1]}
            print(json.dumps(found), file=sys.__stdout__, flush=True)
            os._exit(0)


sys.argv[1:] = ["worker", "--loglevel", "error", "--without-web"]
app.main()
