"""Bytewax: ``fold_window`` over one second of event time per pipeline, orjson for the JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

bootstrap, topic, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0
begun = (0.0, 0.0)


def opened(message: Any) -> tuple[str, Any]:
    global count, begun
    if count == 0:
        begun = time.monotonic(), time.process_time()
    count += 1
    if count == wanted:
        found = {"events": count, "seconds": time.monotonic() - begun[0], "cpu_s": time.process_time() - begun[1]}
        print(json.dumps(found), flush=True)
        os._exit(0)
    event = orjson.loads(message.value)
    return event["pipeline"], event


def add(cell: list[float], event: Any) -> list[float]:
    cell[0] += 1
    cell[1] += event["gen_ai_usage_output_tokens"]
    cell[2] += event["e2e_ms"]
    cell[3] = max(cell[3], event["e2e_ms"])
    return cell


def merge(one: list[float], two: list[float]) -> list[float]:
    return [one[0] + two[0], one[1] + two[1], one[2] + two[2], max(one[3], two[3])]


flow = Dataflow("peer")
messages = op.input("in", flow, KafkaSource([bootstrap], [topic], tail=False, batch_size=1000))
keyed = op.map("open", messages, opened)
clock = win.EventClock(
    ts_getter=lambda event: datetime.fromtimestamp(event["time_ms"] / 1000, UTC),
    wait_for_system_duration=timedelta(seconds=2),
)
windower = win.TumblingWindower(length=timedelta(seconds=1), align_to=datetime(2025, 1, 1, tzinfo=UTC))
folded = win.fold_window("fold", keyed, clock, windower, lambda: [0, 0, 0.0, 0.0], add, merge, False)
op.inspect("out", folded.down, lambda _step, _cell: None)
run_main(flow)
