"""The estimate's queries on the real schema: labelled and unlabelled calls of one version, each once."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from streams.estimate.watch import Watched
from tests.integration.gateway_process import Stage, stage  # noqa: F401
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill import sql
from tidemill.events import InferenceResponse
from tidemill.io.clickhouse import Store
from tidemill.local.demo.overrides import with_overrides
from tidemill.settings import Settings
from tidemill.topics import REQUESTS, RESPONSES, Topic

NOW = 1_763_800_000_000
CALLS = 600
LABELLED = 400
SOURCE = {"_topic": "estimate", "_partition": 0, "_offset": 0}


def sure(n: int) -> bool:
    return n % 4 != 0


def rows() -> dict[str, list[dict[str, Any]]]:
    chance = random.Random(1)
    made: dict[str, list[dict[str, Any]]] = {"requests": [], "responses": [], "feedback": []}
    for n in range(CALLS):
        at = {"call_id": f"c{n}", "time_ms": NOW + n * 100, "pipeline": "talk"}
        words = [(chance.randrange(40), 1), (40 + chance.randrange(40), 2)]
        made["requests"].append(SOURCE | at | {"input_words": words})
        answer = {"model_version": "talk-v1", "variant": "champion", "role": "client", "status": "ok"}
        made["responses"].append(SOURCE | at | answer | {"mean_logprob": -0.01 if sure(n) else -1.0})
        shadow = answer | {"variant": "shadow", "role": "shadow", "mean_logprob": -5.0}
        made["responses"].append(SOURCE | at | shadow)
        if n < LABELLED:
            score = {"metric": "exact_match", "score": float(sure(n)), "model_version": "talk-v1", "kind": "score"}
            judged = at | score | {"call_time_ms": at["time_ms"], "variant": "champion", "label_source": "audit"}
            made["feedback"] += [
                SOURCE | judged | {"feedback_id": f"f{n}"},
                SOURCE | judged | {"feedback_id": f"f{n}"},
                SOURCE | judged | {"feedback_id": f"g{n}", "label_source": "users", "score": 0.0},
            ]
    return made


@pytest.fixture(scope="module")
def filled(store: StoreProcess, stack_settings: Settings) -> Store:
    tables = Store(with_overrides(stack_settings, {"clickhouse.url": store.url, "clickhouse.database": "estimate"}))
    tables.migrate()
    for table, found in rows().items():
        insert(tables, table, found)
    return tables


def insert(tables: Store, table: str, found: list[dict[str, Any]]) -> None:
    """Rows with these columns; the others have their defaults."""
    types = {
        "input_words": pa.map_(pa.int32(), pa.int64()),
        "output_features": pa.map_(pa.string(), pa.float64()),
    }
    columns = {name: pa.array([row[name] for row in found], type=types.get(name)) for name in found[0]}
    tables.insert(table, pa.table(columns), f"{table}-{found[0]['pipeline']}")


def test_quality_is_estimated_from_the_rows_of_the_store(filled: Store) -> None:
    known = Watched("talk", "talk-v1", "exact_match", ("audit",), NOW - 1000)
    assert not known.learn(filled.rows, NOW + 10_000_000)
    found = known.judge(filled.rows, NOW + LABELLED * 100, NOW + CALLS * 100)
    assert (found.labels, found.calls) == (LABELLED, CALLS - LABELLED)
    assert found.value == pytest.approx(0.75, abs=0.02)
    assert found.low is not None and found.high is not None and found.low < 0.75 < found.high
    early = Watched("talk", "talk-v1", "exact_match", ("audit",), 0)
    assert not early.learn(filled.rows, NOW)
    assert early.judge(filled.rows, NOW + LABELLED * 100, NOW + CALLS * 100).labels == 0, "given later than now"
    other = Watched("talk", "talk-v2", "exact_match", ("audit",), NOW - 1000)
    other.learn(filled.rows, NOW + 10_000_000)
    assert other.judge(filled.rows, NOW, NOW + CALLS * 100).reason == "no calls"


COLUMNS: dict[Topic, tuple[str, ...]] = {
    REQUESTS: ("call_id", "time_ms", "pipeline", "input_words"),
    RESPONSES: (
        *("call_id", "answer_id", "time_ms", "pipeline", "model_version", "variant", "role", "status"),
        *("mean_logprob", "output_features"),
    ),
}


def column_values(event: Any, names: tuple[str, ...]) -> dict[str, Any]:
    values = ((name, getattr(event, name)) for name in names)
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in values}


def test_how_far_second_answers_agree_reaches_the_estimate(
    filled: Store,
    stage: Stage,  # noqa: F811
) -> None:
    """Through a real gateway, whose engine is as sure of what it doubts as of all else: labelled are 125 calls, of
    which it doubts each fifth and is wrong then; of 40 further ones it doubts every other.
    """
    stage.gateway()
    client, labelled, asked = stage.client(), 125, 165
    texts = ["doubt it" if n % (5 if n < labelled else 2) == 0 else "sure of it" for n in range(asked)]
    for text in texts:
        client.chat.completions.create(model="twice", messages=[{"role": "user", "content": text}])
    found: list[InferenceResponse] = until(
        lambda: len(events := stage.events(RESPONSES)) == 2 * asked and events, what="the answers"
    )
    requests = until(lambda: len(events := stage.events(REQUESTS)) == asked and events, what="the calls")
    for topic, events in ((REQUESTS, requests), (RESPONSES, found)):
        insert(filled, str(topic.table), [SOURCE | column_values(event, COLUMNS[topic]) for event in events])
    answers = sorted((each for each in found if each.role == "client"), key=lambda each: each.call_time_ms)
    scores = [
        SOURCE
        | {"call_id": answer.call_id, "pipeline": "twice", "model_version": "twice-v1", "variant": "champion"}
        | {"feedback_id": f"t{n}", "time_ms": answer.time_ms, "call_time_ms": answer.call_time_ms, "kind": "score"}
        | {"metric": "exact_match", "score": float(texts[n].startswith("sure")), "label_source": "audit"}
        for n, answer in enumerate(answers[:labelled])
    ]
    insert(filled, "feedback", scores)
    since, until_ms = answers[labelled].time_ms, answers[-1].time_ms + 1

    known = Watched("twice", "twice-v1", "exact_match", ("audit",), 0)
    known.learn(filled.rows, until_ms)
    said = known.judge(filled.rows, since, until_ms)
    assert (said.labels, said.calls) == (labelled, asked - labelled)
    assert said.value == pytest.approx(0.5, abs=0.15), "confidence alone foretells 0.8"


def test_the_newest_estimate_since_the_change_is_the_one_that_counts(filled: Store) -> None:
    assert filled.rows(sql.query("estimate_since"), {"pipeline": "talk", "since": NOW})[0]["n"] == 0
    windows = [
        {
            **SOURCE,
            "pipeline": "talk",
            "model_version": "talk-v1",
            "variant": "champion",
            "role": "client",
            "metric": "quality_estimate_high",
            "unit": "score",
            "start_ms": NOW + start,
            "end_ms": NOW + start + 30_000,
            "n": 100,
            "total": 0.0,
            "total_sq": 0.0,
            "value": high,
            "complete": True,
            "revision": 0,
            "time_ms": NOW + start + 36_000,
        }
        for start, high in ((-30_000, 0.99), (0, 0.9), (30_000, 0.7))
    ]
    filled.insert("windows", pa.Table.from_pylist(windows), "estimate-windows")
    (found,) = filled.rows(sql.query("estimate_since"), {"pipeline": "talk", "since": NOW})
    assert (found["high"], found["n"]) == (0.7, 2)
