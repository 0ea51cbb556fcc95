"""The store's driver: an answer that did not come whole is asked for again."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tidemill.errors import Retry
from tidemill.io import tables
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings


def answer() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"name": [f"row {number}" for number in range(50)]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


@pytest.mark.parametrize(
    "damaged",
    [answer()[:5], answer()[: len(answer()) // 2], answer()[:-40], b"Code: 241. DB::Exception: memory limit exceeded"],
    ids=["head", "half", "almost all", "an error in its place"],
)
def test_a_damaged_answer_is_to_be_asked_for_again(monkeypatch: pytest.MonkeyPatch, damaged: bytes) -> None:
    store = Store(Settings())
    given = [damaged, answer()]
    monkeypatch.setattr(store, "_post", lambda *_: given.pop(0))
    with pytest.raises(Retry, match="is damaged"):
        store.rows("SELECT name FROM t")
    assert len(store.rows("SELECT name FROM t")) == 50


def test_every_table_of_a_cluster_is_replicated_and_remembers_tokens() -> None:
    for name, sql in tables.migrations():
        for single, many in zip(tables.statements(sql), tables.statements(sql, "main-1"), strict=True):
            assert " ON CLUSTER `main-1`" in many.partition("\n")[0], f"{name}: {many}"
            assert "ENGINE = MergeTree" not in many and "non_replicated" not in many
            assert many.count("ReplicatedMergeTree") == single.count("MergeTree") == many.count("_window = 10000")
            assert many.count("replicated_deduplication_window_seconds = 604800") == single.count("MergeTree")
    for statement in (tables.SEEN, "CREATE DATABASE IF NOT EXISTS x"):
        assert " ON CLUSTER `c`" in tables.replicated(statement, "c")
    assert "ENGINE = ReplicatedMergeTree ORDER BY name" in tables.replicated(tables.SEEN, "c")


def test_every_table_remembers_tokens_and_no_view_stands_behind_one() -> None:
    created = [one for _, sql in tables.migrations() for one in tables.statements(sql) if one.startswith("CREATE")]
    assert len(created) >= 9
    for statement in created:
        assert statement.startswith("CREATE TABLE") and "non_replicated_deduplication_window = 10000" in statement


def test_one_server_gets_the_statements_as_they_are_written() -> None:
    for _, sql in tables.migrations():
        assert all(statement in sql for statement in tables.statements(sql))


@pytest.mark.parametrize(
    ("engine", "cluster", "fault"),
    [
        ("MergeTree", "", None),
        ("SharedMergeTree", "", None),
        ("ReplicatedMergeTree", "c", None),
        ("MergeTree", "c", "clickhouse.cluster is 'c', but table t is not replicated"),
        ("ReplicatedMergeTree", "", "set it to the cluster's name"),
    ],
)
def test_tables_of_the_other_kind_are_refused(engine: str, cluster: str, fault: str | None) -> None:
    found = tables.misplaced({"t": engine}, cluster)
    assert found is None if fault is None else fault in (found or "")
