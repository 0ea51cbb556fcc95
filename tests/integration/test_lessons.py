"""What recipes learn from, out of a real store: corrected answers, thumbs, questions without a label."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from retrain.datasets.dataset import DataSet
from retrain.datasets.fetch import EXTENTS, Fetcher
from retrain.snapshot import SnapshotSpec, collected
from tests.integration.store_fixture import StoreProcess
from tidemill import sql
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.settings import PipelineSettings, Settings

BEGAN = 1_700_000_000_000
CALLS = 120
UNTIL = BEGAN + 10 * CALLS + 1_000
COLOURS = ["amber", "birch", "cedar", "dune", "ember", "fern", "grove", "heath", "iris", "jade", "kelp"]


def insert(store: Store, table: str, rows: list[dict[str, Any]]) -> None:
    placed = [{"_topic": table, "_partition": 0, "_offset": number} | row for number, row in enumerate(rows)]
    store.insert(table, pa.Table.from_pylist(placed), f"lessons-{table}")


@pytest.fixture(scope="module")
def filled(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Store:
    """A hundred and twenty calls: the first half labelled, every third answered wrongly, thumbs accordingly."""
    clickhouse = settings.clickhouse.model_copy(
        update={"url": store.url, "database": unique("lessons").replace("-", "_")}
    )
    made = Store(settings.model_copy(update={"clickhouse": clickhouse}))
    made.migrate()
    asked, answered, told = [], [], []
    for n in range(CALLS):
        call_id, at = uuid7(BEGAN + 10 * n, n.to_bytes(10, "big")), BEGAN + 10 * n
        shared = {"call_id": call_id, "pipeline": "schedule", "time_ms": at}
        text = f"{COLOURS[n % 11]} {COLOURS[n // 11]} {n}"
        session = {"gen_ai_conversation_id": f"s-{n % 40}"}
        asked.append(shared | session | {"gen_ai_input_messages": json.dumps([{"role": "user", "content": text}])})
        for role, answer in (("client", f"truth {n}" if n % 3 else "wrong"), ("shadow", "a shadow's")):
            arm = {"answer_id": f"{role}-{n}", "role": role, "status": "ok", "gen_ai_output_text": answer}
            answered.append(shared | session | arm | {"time_ms": at + 5, "call_time_ms": at})
        says = {"call_id": call_id, "pipeline": "schedule", "time_ms": at + 9, "call_time_ms": at}
        if n < CALLS // 2:
            trusted = {"kind": "label", "source": "audit" if n % 2 else "user", "value": f"truth {n}", "score": None}
            told.append(says | {"feedback_id": f"l-{n}"} | trusted)
        thumb = {"kind": "thumb", "source": "user", "value": None, "score": float(n % 3 > 0)}
        told.append(says | {"feedback_id": f"t-{n}"} | thumb)
    for table, rows in (("requests", asked), ("responses", answered), ("feedback", told)):
        insert(made, table, rows)
    return made


def made(filled: Store, kind: str, change_ms: int = BEGAN) -> tuple[DataSet, Fetcher]:
    retrain = {"floor_labels": 10, "recipe": {"kind": kind}}
    pipeline = PipelineSettings.model_validate(
        {"engine": "local", "champion": "schedule-v1", "retrain": retrain, "gate": {"min_verified": 5}}
    )
    spec = SnapshotSpec(settings="", job_id="j", pipeline="schedule", change_ms=change_ms, until_ms=UNTIL)
    fetcher = Fetcher(filled, "schedule", UNTIL)
    return collected(fetcher, spec, pipeline, []), fetcher


def test_corrections_beside_what_clients_were_answered(filled: Store) -> None:
    found, _ = made(filled, "dpo")
    assert {row.rejected for row in found.train} == {"wrong"}
    assert all(int(row.completion.removeprefix("truth ")) % 3 == 0 for row in found.train)


def test_thumbs_with_what_they_are_about(filled: Store) -> None:
    found, _ = made(filled, "kto")
    assert {(row.completion == "wrong", row.liked) for row in found.train} == {(True, False), (False, True)}
    assert len(found.train) > CALLS // 2
    users = found.origins["sources"]["user"]
    assert (users["thumbs"], users["thumbs_contradicted"], users["train"]) == (CALLS, 0, len(found.train))
    assert users["thumbs_compared"] == CALLS // 4, "the calls with a trusted label"


def test_questions_without_a_label_are_left_to_a_teacher(filled: Store) -> None:
    found = [row for row in made(filled, "distill")[0].train if not row.completion]
    assert found
    assert all(int(row.prompt.split()[-1]) >= CALLS // 2 for row in found if row.prompt)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("sft", {}),
        ("dpo", {"answers_of_labelled": ("responses", CALLS // 2)}),
        ("kto", {"thumbed_calls": ("feedback", CALLS)}),
        ("distill", {"asked_calls": ("requests", CALLS * 3 // 4)}),
    ],
)
def test_a_data_set_says_what_was_asked_and_where_that_stands(
    filled: Store, kind: str, more: dict[str, tuple[str, int]]
) -> None:
    """Half of the calls are labelled; a quarter was made before the change, which a teacher is not asked about."""
    _, fetcher = made(filled, kind, change_ms=BEGAN + 10 * CALLS // 4)
    expected = {"labelled_calls": ("feedback", CALLS // 2)} | more
    assert fetcher.queries == {name: sql.query(name) for name in expected}
    found = fetcher.offsets()
    assert {each["query"]: (each["topic"], each["messages"]) for each in found} == expected
    assert len(found) == len(expected) and fetcher.offsets() == found
    assert all(0 <= each["first_offset"] < each["last_offset"] < 3 * CALLS for each in found)


def test_every_query_has_one_for_its_offsets() -> None:
    for name, extent in EXTENTS.items():
        assert sql.query(name) and "first_offset" in sql.query(extent)
