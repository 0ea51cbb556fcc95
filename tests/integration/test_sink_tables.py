"""The tables on a real store: what a setting changes, and the sums by minute."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers.audit.projections import compare
from tests.integration.store_fixture import StoreProcess
from tidemill.errors import Stop
from tidemill.io import tables
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings

NOW_MS = 1_763_800_000_000


@pytest.fixture
def opened(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Callable[..., Store]:
    """A database of the test's own; further calls open the same one with other settings."""
    database = unique("tables").replace("-", "_")

    def made(**others: object) -> Store:
        clickhouse = settings.clickhouse.model_copy(update={"url": store.url, "database": database, **others})
        return Store(settings.model_copy(update={"clickhouse": clickhouse}))

    return made


def synced(store: Store) -> set[str]:
    rows = store.rows("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()")
    return {row["name"] for row in rows if "fsync_after_insert = 1, fsync_part_directory = 1" in row["engine_full"]}


def test_inserts_are_synced_where_the_setting_says_so(opened: Callable[..., Store]) -> None:
    assert opened().migrate() and synced(opened()) == set()
    assert opened(fsync=True).migrate() == [] and {"requests", "responses", "events", "jobs"} <= synced(opened())
    assert opened().migrate() == [] and len(synced(opened())) > 4, "where it says nothing, tables stay as they are"
    assert opened(fsync=False).migrate() == [] and synced(opened()) == set()


def test_a_cluster_over_tables_of_one_server_is_refused(opened: Callable[..., Store]) -> None:
    opened().migrate()
    with pytest.raises(Stop, match="is not replicated"):
        opened(cluster="none").migrate()


def test_the_statements_for_a_cluster_are_clickhouses_own_language(opened: Callable[..., Store]) -> None:
    store = opened()
    store.migrate()
    for _, sql in tables.migrations():
        for statement in tables.statements(sql, "main-1"):
            (row,) = store.rows("SELECT formatQuery({sql:String}) AS written", {"sql": statement})
            assert "ON CLUSTER `main-1`" in row["written"]
            assert row["written"].count("ReplicatedMergeTree") == statement.count("ReplicatedMergeTree")


QUESTIONS = {
    "requests": "SELECT pipeline, toStartOfMinute(time) AS minute, count() FROM requests GROUP BY pipeline, minute",
    "one pipeline": "SELECT toStartOfMinute(time) AS minute, count() FROM responses WHERE pipeline = 'p1' "
    "GROUP BY minute",
    "errors": "SELECT toStartOfMinute(time) AS minute, countIf(status IN ('error', 'timeout')) / count() "
    "FROM responses GROUP BY minute",
    "tokens by the hour": "SELECT toStartOfHour(toStartOfMinute(time)) AS hour, sum(gen_ai_usage_input_tokens), "
    "sum(gen_ai_usage_cached_tokens), sum(gen_ai_usage_output_tokens) FROM responses GROUP BY hour",
    "cost": "SELECT model_version, variant, cost_currency, sum(cost_micros), count(cost_micros) FROM responses "
    "WHERE role = 'client' AND toStartOfMinute(time) >= toDateTime('2025-11-22 08:27:00', 'UTC') "
    "GROUP BY model_version, variant, cost_currency",
}


@pytest.fixture
def filled(opened: Callable[..., Store]) -> Store:
    """Rows of several minutes, pipelines and versions in several parts."""
    store = opened()
    store.migrate()
    for part in range(3):
        shared = (
            f"'t', 0, number + {part * 1000}, {NOW_MS} + number * 400, concat('p', toString(number % 3))"
            f" FROM numbers(1000)"
        )
        store.command(f"INSERT INTO requests (_topic, _partition, _offset, time_ms, pipeline) SELECT {shared}")
        columns = (
            "model_version, variant, role, status, cost_currency, gen_ai_usage_input_tokens, "
            "gen_ai_usage_cached_tokens, gen_ai_usage_output_tokens, cost_micros"
        )
        values = (
            "concat('v', toString(number % 2)), 'champion', if(number % 7 = 0, 'shadow', 'client'), "
            "['ok', 'error', 'timeout'][1 + number % 3], 'USD', number, NULL, 5, if(number % 5 = 0, NULL, number)"
        )
        store.command(
            f"INSERT INTO responses (_topic, _partition, _offset, time_ms, pipeline, {columns}) "
            f"SELECT {shared.replace(' FROM', f', {values} FROM')}"
        )
    return store


def answers(store: Store, question: str, projections: str) -> list[str]:
    return sorted(store.command(f"{question} SETTINGS {projections} FORMAT TSV").splitlines())


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_by_the_minute_read_the_sums_and_get_the_rows_own_answer(filled: Store, name: str) -> None:
    read = answers(filled, QUESTIONS[name], "force_optimize_projection = 1")
    assert read and read == answers(filled, QUESTIONS[name], "optimize_use_projections = 0")


def test_sums_stay_right_when_rows_are_deleted(filled: Store) -> None:
    filled.command("DELETE FROM responses WHERE _offset < 500")
    filled.command("ALTER TABLE responses DELETE WHERE _offset >= 2500 SETTINGS mutations_sync = 2")
    for name in ("one pipeline", "errors", "cost"):
        read = answers(filled, QUESTIONS[name], "force_optimize_projection = 1")
        assert read and read == answers(filled, QUESTIONS[name], "optimize_use_projections = 0")


def test_rows_from_before_the_projection_get_their_sums(opened: Callable[..., Store]) -> None:
    store = opened()
    store.migrate()
    store.command("ALTER TABLE responses DROP PROJECTION by_minute SETTINGS mutations_sync = 2")
    store.command("INSERT INTO responses (_topic, time_ms, pipeline) SELECT 't', 1763800000000, 'p1' FROM numbers(9)")
    store.command("DELETE FROM schema_migrations WHERE name LIKE '0005%'")
    assert store.migrate() == ["0005_by_minute.sql"]
    store.command("OPTIMIZE TABLE responses FINAL")
    assert answers(store, QUESTIONS["one pipeline"], "force_optimize_projection = 1")[0].endswith("\t9")


def test_the_audit_finds_the_sums_equal(filled: Store) -> None:
    filled.command(
        "INSERT INTO responses (_topic, time_ms, pipeline) SELECT 't', 1763800000000, 'unpriced' FROM numbers(9)"
    )
    found = list(compare(filled, dict.fromkeys(["requests", "responses"])))
    assert [(one.table, one.name, one.equal) for one in found] == [
        ("requests", "by_minute", True),
        ("responses", "by_minute", True),
    ]
