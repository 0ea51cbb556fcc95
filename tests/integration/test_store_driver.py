"""The store as clickhouse-connect sees it: a real process on a database of each test's own."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from tests.integration.store_fixture import StoreProcess
from tests.integration.store_requests import DEDUP, numbered, post


@pytest.fixture
def client(store: StoreProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A driver on a database of the test's own."""
    name = "d_" + request.node.name.replace("[", "_").replace("]", "_").replace("-", "_")
    post(store, f"CREATE DATABASE IF NOT EXISTS `{name}`")
    made = clickhouse_connect.get_client(host=store.host, port=store.port, database=name)
    yield made
    made.command(f"DROP DATABASE `{name}`")
    made.close()


def test_commands_queries_and_parameters(client: Client) -> None:
    assert client.command("SELECT 1") == 1
    client.command("CREATE TABLE t (id UInt64, text String, at DateTime64(3)) ENGINE = MergeTree ORDER BY id")
    found = client.query(
        "SELECT {n:UInt8}, {s:String}, {a:Array(String)}, {d:Date}",
        parameters={"n": 7, "s": "it's\ta \\ 'quote'\n", "a": ["x", "y'"], "d": "2026-11-01"},
    )
    assert found.result_rows[0][:3] == (7, "it's\ta \\ 'quote'\n", ["x", "y'"])
    assert client.query("SELECT * FROM t LIMIT 0").column_names == ("id", "text", "at")
    assert client.query("SELECT id FROM {t:Identifier}", parameters={"t": "t"}).result_rows == []
    assert client.query("SHOW TABLES").result_rows == [("t",)]


def test_inserts_of_every_kind(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {DEDUP}")
    assert client.insert("t", [[1, "a"], [2, "b"]], column_names=["id", "text"]).written_rows == 2
    assert client.insert_arrow("t", numbered(1000, 10)).written_rows == 1000
    client.insert_df("t", numbered(5, 2000).to_pandas())
    client.raw_insert("t", ["id", "text"], b'{"id": 3000, "text": "j"}\n', fmt="JSONEachRow")
    client.raw_insert("t", ["id", "text"], gzip.compress(b"3001,z\n"), fmt="CSV", compression="gzip")
    client.command("INSERT INTO t VALUES (3002, 'v;'), (3003, 'FORMAT x')")
    client.command("INSERT INTO t SELECT number + 4000, 's' FROM numbers(5)")
    assert client.command("SELECT count(), uniqExact(id) FROM t") == ["1016", "1016"]
    frame = client.query_df("SELECT text FROM t WHERE id = 3002")
    assert frame["text"].tolist() == ["v;"]
    assert client.query_arrow("SELECT id FROM t ORDER BY id LIMIT 2")["id"].to_pylist() == [1, 2]


def test_one_arrow_table_is_one_part(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {DEDUP}")
    client.insert_arrow("t", numbered(300_000))
    assert client.query("SELECT rows FROM system.parts WHERE active AND database = currentDatabase()").result_rows == [
        (300_000,)
    ]


def test_the_same_token_lands_once_and_another_lands(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {DEDUP}")
    for token in ("a", "a", "b", "a"):
        client.insert_arrow("t", numbered(10), settings={"insert_deduplication_token": token, "async_insert": 0})
    assert client.command("SELECT count() FROM t") == 20
    for _ in range(2):  # the other formats and ways know it too
        settings = {"insert_deduplication_token": "c"}
        client.raw_insert("t", ["id", "text"], b'{"id": 1, "text": ""}\n', fmt="JSONEachRow", settings=settings)
    client.command("INSERT INTO t SETTINGS insert_deduplication_token = 'c' VALUES (9, 'late')")
    assert client.command("SELECT count() FROM t") == 21
    off = {"insert_deduplication_token": "a", "deduplicate_insert": "disable", "insert_deduplicate": 0}
    client.insert_arrow("t", numbered(10), settings=off)
    assert client.command("SELECT count() FROM t") == 31


def test_a_token_does_not_leak_into_the_next_request(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {DEDUP}")
    client.insert_arrow("t", numbered(1), settings={"insert_deduplication_token": "a"})
    client.insert_arrow("t", numbered(1, 50))
    assert client.command("SELECT count() FROM t") == 2


@pytest.mark.parametrize(("first", "rows", "code"), [(0, 101, 252), (20_000, 1, 469)])
def test_what_goes_wrong_when_rows_are_written_is_told(client: Client, first: int, rows: int, code: int) -> None:
    client.command(
        "CREATE TABLE t (id UInt64, CONSTRAINT c CHECK id < 10000) ENGINE = MergeTree PARTITION BY id ORDER BY id"
    )
    with pytest.raises(DatabaseError, match=f"Code: {code}"):
        client.insert_arrow("t", numbered(rows, first).select(["id"]))
    assert client.command("SELECT count() FROM t") == 0


def test_the_driver_sees_the_code(client: Client) -> None:
    with pytest.raises(DatabaseError) as failed:
        client.query("SELECT * FROM nowhere")
    assert failed.value.code == 60
    client.command(f"CREATE TABLE t (id UInt64, text String) {DEDUP}")
    with pytest.raises(DatabaseError) as failed:
        client.raw_insert("t", ["id"], b'{"id": "x"}\n', fmt="JSONEachRow")
    assert failed.value.code == 27
    with pytest.raises(DatabaseError) as failed:
        client.raw_insert("t", ["id", "text"], b"not arrow", fmt="Arrow")
    assert client.command("SELECT count() FROM t") == 0


def test_large_results_stream_and_fail_in_the_middle(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(1000000)") as blocks:
        assert sum(len(block) for block in blocks) == 1_000_000
    with client.query_arrow_stream("SELECT number FROM numbers(10)") as tables:
        assert sum(table.num_rows for table in tables) == 10
    failing = "SELECT number, throwIf(number = 900000, 'in the middle') FROM numbers(1000000)"
    with (
        pytest.raises(StreamFailureError, match="in the middle"),
        client.query_row_block_stream(failing) as blocks,
    ):
        for _ in blocks:
            pass


def test_external_tables_and_long_parameters_travel_as_a_form(client: Client) -> None:
    data = ExternalData(file_name="wanted", fmt="CSV", structure=["id UInt64", "text String"], data=b"1,a\n2,b\n")
    assert client.query("SELECT sum(id) FROM wanted", external_data=data).result_rows == [(3,)]
    long = "x" * 60_000
    assert client.query("SELECT length({s:String})", parameters={"s": long}).result_rows == [(60_000,)]


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_the_driver_with_each_compression(store: StoreProcess, compress: str | bool) -> None:
    client = clickhouse_connect.get_client(host=store.host, port=store.port, compress=compress)
    assert len(client.query("SELECT number, toString(number) FROM numbers(200000)").result_rows) == 200_000
    client.close()


def test_readers_and_writers_at_once(store: StoreProcess) -> None:
    post(store, f"CREATE TABLE busy (id UInt64, text String) {DEDUP}")
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            client = clickhouse_connect.get_client(host=store.host, port=store.port)
            for turn in range(5):
                client.insert_arrow("busy", numbered(1000, (number * 5 + turn) * 1000))
                client.query("SELECT count(), max(text) FROM busy")
            client.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert post(store, "SELECT count(), uniqExact(id) FROM busy") == b"60000\t60000\n"
    post(store, "DROP TABLE busy")
