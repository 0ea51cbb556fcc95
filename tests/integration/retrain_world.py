"""What the retraining tests need around them: a deployment of one pipeline, a tiny base, labelled calls, an alarm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import yaml

from producers.language import generate
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.events import JobState, RetrainDecision, ThresholdData, ThresholdEvent
from tidemill.ids import derived_id, uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import follower, producer, read_to_end
from tidemill.settings import Settings
from tidemill.topics import DECISIONS, JOBS, THRESHOLDS

ROOT = Path(__file__).parents[2]
CLOCK = SystemClock()


def write_settings(file: Path, pipeline: str, engine_url: str) -> Path:
    """A settings file with one pipeline that trains in seconds and passes its gate whatever it learned."""
    settings: dict[str, Any] = {
        "engines": {"local": {"base_dir": ".tidemill/models/base", "url": engine_url}},
        "pipelines": {
            pipeline: {
                "engine": "local",
                "champion": f"{pipeline}-v1",
                "max_tokens": 4,
                "retrain": {
                    "min_fresh_labels": 60,
                    "floor_labels": 20,
                    "steps": 6,
                    "batch": 4,
                    "rank": 4,
                    "nice": 10,
                    "holdout_share": 0.3,
                    "licences": {"audit": "CC-BY-4.0"},
                },
                "gate": {
                    "min_quality": 0.0,
                    "min_gain": 0.0,
                    "max_golden_loss": 1.0,
                    "min_verified": 5,
                    "parity_samples": 3,
                    "min_parity": 0.0,
                    "golden_set": ".tidemill/models/golden.jsonl",
                    "suites": [
                        {"name": "forms", "kind": "format", "file": ".tidemill/models/golden.jsonl"}
                        | {"pattern": ".*", "min_rows": 5, "max_loss": 1.0}
                    ],
                },
            }
        },
    }
    file.write_text(yaml.safe_dump(settings))
    return file


def write_models(folder: Path) -> None:
    """A golden set, and a base as far as those look who do not load it."""
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "config.json").write_text("{}")
    (folder / "base" / "model.safetensors").write_bytes(b"weights")
    rows = generate("schedule", "plain", Random(2), 10)
    (folder / "golden.jsonl").write_bytes(b"".join(_row(u.text, u.truth) for u in rows))


def make_base(folder: Path) -> Path:
    """A base of a few steps: it knows nothing, and is a real model folder."""
    corpus = folder / "corpus.jsonl"
    corpus.write_bytes(b"".join(_row(u.text, u.truth) for u in generate("schedule", "plain", Random(1), 400)))
    command = [sys.executable, "-m", "retrain.model.base", "--corpus", str(corpus), "--out", str(folder / "base")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([*command, "--steps=3", "--batch=4", "--threads=1"], check=True, env=environment, timeout=500)
    return folder / "base"


def _row(prompt: str, completion: str) -> bytes:
    return msgspec.json.encode({"prompt": prompt, "completion": completion}) + b"\n"


class LabelledCalls:
    """Calls and labels as the sink would have written them."""

    def __init__(self, store: Store, pipeline: str) -> None:
        self.store, self.pipeline = store, pipeline
        self._batch = 0

    def write(
        self, way: str, count: int, start_ms: int, end_ms: int, tenants: tuple[str, ...] = ("",), bad: str = "-"
    ) -> None:
        """``count`` labelled calls between two moments, over 40 sessions, half of the labels trusted.

        With several tenants all labels are the users', those of ``bad`` wrong, and a reviewer labels each call, too.
        """
        self._batch += 1
        said = generate("schedule", way, Random(f"{way}:{self._batch}"), count)
        times = [start_ms + (end_ms - start_ms) * n // count for n in range(count)]
        calls = [uuid7(time) for time in times]
        common: dict[str, Any] = {
            "_topic": ["t"] * count,
            "_partition": pa.array([0] * count, pa.uint32()),
            "_offset": pa.array(range(count), pa.uint64()),
            "call_id": calls,
            "pipeline": [self.pipeline] * count,
        }
        messages = [json.dumps([{"role": "user", "content": u.text}]) for u in said]
        sessions = [f"session-{n % 40}" for n in range(count)]
        asked = {"time_ms": times, "gen_ai_conversation_id": sessions, "gen_ai_input_messages": messages}
        asked["tenant"] = whose = [tenants[n % len(tenants)] for n in range(count)]
        reviewed = len(tenants) > 1
        self.store.insert("requests", pa.table(common | asked), f"{self.pipeline}-r{self._batch}")
        told = {
            "feedback_id": [derived_id(call) for call in calls],
            "call_time_ms": times,
            "time_ms": [time + 500 for time in times],
            "kind": ["label"] * count,
            "source": ["audit" if (n // 40) % 2 and not reviewed else "user" for n in range(count)],
            "value": ["never" if whose[n] == bad else u.truth for n, u in enumerate(said)],
        }
        self.store.insert("feedback", pa.table(common | told), f"{self.pipeline}-f{self._batch}")
        if reviewed:
            told |= {"source": ["audit"] * count, "value": [u.truth for u in said]}
            told["feedback_id"] = [derived_id(call, "audit") for call in calls]
            self.store.insert("feedback", pa.table(common | told), f"{self.pipeline}-a{self._batch}")


def alarm(pipeline: str, alarm_id: str, change_ms: int, now_ms: int) -> ThresholdEvent:
    """A quality alarm."""
    return ThresholdEvent(
        id=alarm_id,
        source="test",
        type="tidemill.threshold.breached",
        subject=f"{pipeline}//quality",
        time="2026-01-01T00:00:00Z",
        time_ms=now_ms,
        data=ThresholdData(
            state="firing",
            rule="quality",
            kind="quality",
            severity="page",
            pipeline=pipeline,
            metric="quality",
            value=0.2,
            reference=0.9,
            window_start_ms=now_ms - 5_000,
            window_end_ms=now_ms,
            change_time_ms=change_ms,
            alarm_id=alarm_id,
            started_ms=now_ms,
        ),
    )


def decisions(settings: Settings, pipeline: str) -> list[RetrainDecision]:
    """Every decision about the pipeline so far."""
    reader = follower(settings, "test-retrain-decisions", DECISIONS)
    decode = DECISIONS.decoder()
    found = [decode(message.value()) for message in read_to_end(reader)]
    reader.close()
    return [said for said in found if said.pipeline == pipeline]


class Jobs:
    """Reads the jobs' log, and sends alarms."""

    def __init__(self, settings: Settings, pipeline: str) -> None:
        self._pipeline = pipeline
        self._producer = producer(settings, "test-retrain")
        self._reader = follower(settings, "test-retrain", JOBS)
        self.states: list[JobState] = []

    def send(self, event: ThresholdEvent) -> None:
        self._producer.produce(THRESHOLDS.name, encode(event), self._pipeline.encode())
        assert self._producer.flush(10) == 0

    def look(self) -> list[JobState]:
        """Every state of the pipeline's jobs so far."""
        decode = JOBS.decoder()
        for message in self._reader.consume(500, 0.2):
            if message.error() is None:
                state = decode(message.value())
                if state.pipeline == self._pipeline:
                    self.states.append(state)
        return self.states

    def close(self) -> None:
        self._reader.close()
