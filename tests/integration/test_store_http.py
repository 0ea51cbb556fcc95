"""The store as drivers see it: clickhouse-connect and plain HTTP against a real process."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import subprocess
import threading
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from tests.integration.store_fixture import StoreProcess, free_port, launch_store, start_store
from tests.waiting import until

_DEDUP = "ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000"


@pytest.fixture
def client(store: StoreProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A driver on a database of the test's own."""
    name = "d_" + request.node.name.replace("[", "_").replace("]", "_").replace("-", "_")
    _post(store, f"CREATE DATABASE IF NOT EXISTS `{name}`")
    made = clickhouse_connect.get_client(host=store.host, port=store.port, database=name)
    yield made
    made.command(f"DROP DATABASE `{name}`")
    made.close()


def _ask(
    store: StoreProcess,
    method: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **parameters: Any,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
    try:
        connection.request(method, "/?" + urllib.parse.urlencode(parameters), body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _post(store: StoreProcess, query: str, **parameters: Any) -> bytes:
    status, _, body = _ask(store, "POST", query.encode(), **parameters)
    assert status == 200, body
    return body


def _rows(count: int, start: int = 0) -> pa.Table:
    ids = np.arange(start, start + count, dtype=np.uint64)
    return pa.table({"id": ids, "text": [f"row {number}" for number in ids]})


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
    client.command(f"CREATE TABLE t (id UInt64, text String) {_DEDUP}")
    assert client.insert("t", [[1, "a"], [2, "b"]], column_names=["id", "text"]).written_rows == 2
    assert client.insert_arrow("t", _rows(1000, 10)).written_rows == 1000
    client.insert_df("t", _rows(5, 2000).to_pandas())
    client.raw_insert("t", ["id", "text"], b'{"id": 3000, "text": "j"}\n', fmt="JSONEachRow")
    client.raw_insert("t", ["id", "text"], gzip.compress(b"3001,z\n"), fmt="CSV", compression="gzip")
    client.command("INSERT INTO t VALUES (3002, 'v;'), (3003, 'FORMAT x')")
    client.command("INSERT INTO t SELECT number + 4000, 's' FROM numbers(5)")
    assert client.command("SELECT count(), uniqExact(id) FROM t") == ["1016", "1016"]
    frame = client.query_df("SELECT text FROM t WHERE id = 3002")
    assert frame["text"].tolist() == ["v;"]
    assert client.query_arrow("SELECT id FROM t ORDER BY id LIMIT 2")["id"].to_pylist() == [1, 2]


def test_one_arrow_table_is_one_part(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {_DEDUP}")
    client.insert_arrow("t", _rows(300_000))
    assert client.query("SELECT rows FROM system.parts WHERE active AND database = currentDatabase()").result_rows == [
        (300_000,)
    ]


def test_the_same_token_lands_once_and_another_lands(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {_DEDUP}")
    for token in ("a", "a", "b", "a"):
        client.insert_arrow("t", _rows(10), settings={"insert_deduplication_token": token, "async_insert": 0})
    assert client.command("SELECT count() FROM t") == 20
    for _ in range(2):  # the other formats and ways know it too
        settings = {"insert_deduplication_token": "c"}
        client.raw_insert("t", ["id", "text"], b'{"id": 1, "text": ""}\n', fmt="JSONEachRow", settings=settings)
    client.command("INSERT INTO t SETTINGS insert_deduplication_token = 'c' VALUES (9, 'late')")
    assert client.command("SELECT count() FROM t") == 21
    off = {"insert_deduplication_token": "a", "deduplicate_insert": "disable", "insert_deduplicate": 0}
    client.insert_arrow("t", _rows(10), settings=off)
    assert client.command("SELECT count() FROM t") == 31


def test_a_token_does_not_leak_into_the_next_request(client: Client) -> None:
    client.command(f"CREATE TABLE t (id UInt64, text String) {_DEDUP}")
    client.insert_arrow("t", _rows(1), settings={"insert_deduplication_token": "a"})
    client.insert_arrow("t", _rows(1, 50))
    assert client.command("SELECT count() FROM t") == 2


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECT nothing", 47, 404),
        ("SELECT * FROM nowhere.t", 81, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1 SETTINGS nonsense = 1", 115, 404),
        ("SELECT 1; DROP TABLE t", 62, 400),
        ("SELECT * FROM file('/etc/hostname', 'LineAsString')", 497, 403),
        ("", 62, 400),
        ("SELECT {x:UInt8}", 456, 500),
    ],
)
def test_errors_have_clickhouses_code_and_status(store: StoreProcess, query: str, code: int, status: int) -> None:
    found, headers, body = _ask(store, "POST", query.encode())
    assert (found, headers["x-clickhouse-exception-code"]) == (status, str(code)), body
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())


@pytest.mark.parametrize(("first", "rows", "code"), [(0, 101, 252), (20_000, 1, 469)])
def test_what_goes_wrong_when_rows_are_written_is_told(client: Client, first: int, rows: int, code: int) -> None:
    client.command(
        "CREATE TABLE t (id UInt64, CONSTRAINT c CHECK id < 10000) ENGINE = MergeTree PARTITION BY id ORDER BY id"
    )
    with pytest.raises(DatabaseError, match=f"Code: {code}"):
        client.insert_arrow("t", _rows(rows, first).select(["id"]))
    assert client.command("SELECT count() FROM t") == 0


def test_the_driver_sees_the_code(client: Client) -> None:
    with pytest.raises(DatabaseError) as failed:
        client.query("SELECT * FROM nowhere")
    assert failed.value.code == 60
    client.command(f"CREATE TABLE t (id UInt64, text String) {_DEDUP}")
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


def test_a_broken_stream_is_no_whole_answer_for_plain_http(store: StoreProcess) -> None:
    query = b"SELECT number, throwIf(number = 900000) FROM numbers(1000000) FORMAT TSV"
    with pytest.raises(http.client.IncompleteRead) as broken:
        _ask(store, "POST", query)
    assert b"__exception__" in broken.value.partial[-2000:]
    status, headers, _ = _ask(store, "POST", query, wait_end_of_query="1")
    assert (status, headers["x-clickhouse-exception-code"]) == (500, "395")


def test_external_tables_and_long_parameters_travel_as_a_form(client: Client) -> None:
    data = ExternalData(file_name="wanted", fmt="CSV", structure=["id UInt64", "text String"], data=b"1,a\n2,b\n")
    assert client.query("SELECT sum(id) FROM wanted", external_data=data).result_rows == [(3,)]
    long = "x" * 60_000
    assert client.query("SELECT length({s:String})", parameters={"s": long}).result_rows == [(60_000,)]


@pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip", "deflate"])
def test_bodies_and_answers_in_every_coding(store: StoreProcess, coding: str) -> None:
    pack = {"lz4": lz4.frame.compress, "zstd": zstandard.compress, "gzip": gzip.compress, "deflate": zlib.compress}
    unpack = {
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
    }
    query = pack[coding](b"SELECT number FROM numbers(100000) FORMAT TSV")
    status, headers, body = _ask(store, "POST", query, {"Content-Encoding": coding, "Accept-Encoding": coding})
    assert (status, headers["content-encoding"]) == (200, coding)
    assert unpack[coding](body) == b"".join(b"%d\n" % number for number in range(100_000))
    status, headers, body = _ask(store, "POST", b"not packed", {"Content-Encoding": coding})
    assert status == 500 and headers["x-clickhouse-exception-code"] in ("3", "271")
    _, headers, _ = _ask(
        store,
        "POST",
        b"SELECT number FROM numbers(100000)",
        {"Accept-Encoding": coding},
        enable_http_compression="0",
    )
    assert "content-encoding" not in headers


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_the_driver_with_each_compression(store: StoreProcess, compress: str | bool) -> None:
    client = clickhouse_connect.get_client(host=store.host, port=store.port, compress=compress)
    assert len(client.query("SELECT number, toString(number) FROM numbers(200000)").result_rows) == 200_000
    client.close()


def test_plain_http(store: StoreProcess) -> None:
    assert _ask(store, "GET")[2] == b"Ok.\n"
    status, headers, body = _ask(store, "GET", query="SELECT 1 AS one", default_format="JSONEachRow", query_id="q1")
    assert (status, body, headers["x-clickhouse-format"]) == (200, b'{"one":1}\n', "JSONEachRow")
    assert headers["x-clickhouse-query-id"] == "q1"
    assert _ask(store, "POST", b"1 FORMAT CSV", query="SELECT")[2] == b"1\n"
    assert _ask(store, "GET", query="SELECT {x:String}", param_x="a\\tb")[2] == b"a\\tb\n"
    assert _ask(store, "GET", query="SELECT currentDatabase()", database="system")[2] == b"system\n"
    assert _ask(store, "GET", query="SELECT getSetting('max_threads')", max_threads="1")[2] == b"1\n"
    assert json.loads(_post(store, "SELECT 1 AS x LIMIT 0 FORMAT JSON"))["meta"][0]["name"] == "x"
    assert _post(store, "SELECT 1 WHERE 0 FORMAT Native") == b""


def test_an_insert_with_its_rows_in_the_body(store: StoreProcess) -> None:
    _post(store, f"CREATE TABLE plain (id UInt64, text String) {_DEDUP}")
    body = b'{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n'
    status, headers, _ = _ask(store, "POST", body, query="INSERT INTO plain FORMAT JSONEachRow")
    assert status == 200 and json.loads(headers["x-clickhouse-summary"])["written_rows"] == "2"
    chunks = http.client.HTTPConnection(store.host, store.port, timeout=60)
    chunks.request("POST", "/", iter([b"INSERT INTO plain FORM", b"AT CSV\n3", b",c\n"]), encode_chunked=True)
    assert chunks.getresponse().status == 200
    chunks.close()
    status, _, _ = _ask(store, "POST", b"4,d\n", query="INSERT INTO {t:Identifier} FORMAT CSV", param_t="plain")
    assert status == 200
    assert _post(store, "SELECT count(), uniqExact(id) FROM plain") == b"4\t4\n"
    _post(store, "DROP TABLE plain")


def test_large_bodies_and_expressions_in_values(store: StoreProcess) -> None:
    _post(store, f"CREATE TABLE large (id UInt64, text String) {_DEDUP}")
    lines = b"".join(b"%d,%b\n" % (number, b"x" * 100) for number in range(200_000))
    assert len(lines) > 16 << 20
    assert _ask(store, "POST", b"INSERT INTO large FORMAT CSV\n" + lines)[0] == 200
    packed = {"Content-Encoding": "zstd"}
    assert _ask(store, "POST", zstandard.compress(lines), packed, query="INSERT INTO large FORMAT CSV")[0] == 200
    values = b"INSERT INTO large VALUES ({x:UInt64} + 1, upper('q'))" + b", (0, '')" * 200_000
    assert _ask(store, "POST", values, param_x="1000000")[0] == 200
    assert (
        _post(store, "SELECT count(), max(id) FROM large") == b"400001\t1000001\n"
    )  # the same rows again are a duplicate
    assert _ask(store, "POST", b"SELECT '" + b"x" * (2 << 20) + b"'")[0] in (400, 413)
    _post(store, "WITH 5 AS x INSERT INTO large SELECT x, 'w'")
    _post(store, "DROP TABLE large")


def test_asynchronous_inserts_land_and_tell_their_errors(store: StoreProcess) -> None:
    _post(store, f"CREATE TABLE later (id UInt64, text String) {_DEDUP}")
    asynchronous: Any = {"async_insert": "1", "wait_for_async_insert": "1"}
    assert _ask(store, "POST", b"1,a\n", query="INSERT INTO later FORMAT CSV", **asynchronous)[0] == 200
    assert _ask(store, "POST", b"x,a\n", query="INSERT INTO later FORMAT CSV", **asynchronous)[0] == 400
    assert _post(store, "SELECT count() FROM later") == b"1\n"
    _post(store, "DROP TABLE later")


def test_get_only_reads(store: StoreProcess) -> None:
    for query in ("CREATE TABLE g (a Int8) ENGINE = Memory", "INSERT INTO g VALUES (1)", "DROP DATABASE default"):
        status, headers, _ = _ask(store, "GET", query=query)
        assert (status, headers["x-clickhouse-exception-code"]) == (500, "164")


def test_pages_of_other_sites_are_refused(store: StoreProcess) -> None:
    assert _ask(store, "POST", b"SELECT 1", {"Host": "evil.example"})[0] == 403
    assert _ask(store, "POST", b"SELECT 1", {"Sec-Fetch-Site": "cross-site"})[0] == 403


def test_connections_are_kept_alive_even_after_an_error(store: StoreProcess) -> None:
    connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
    connection.connect()
    own = connection.sock.getsockname()
    for query in ("SELECT 1", "SELEC", "SELECT number FROM numbers(500000)", "SELECT 2"):
        connection.request("POST", "/", query)
        connection.getresponse().read()
        assert connection.sock is not None and connection.sock.getsockname() == own
    connection.close()


def test_native_of_a_later_revision(store: StoreProcess) -> None:
    query = "SELECT toLowCardinality('x') AS a, [number] AS b FROM numbers(2) FORMAT Native"
    block = _post(store, query, client_protocol_version="54460")
    assert block.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x02\x02\x01a\x16LowCardinality(String)\x00")
    assert _post(store, query).startswith(b"\x02\x02\x01a\x16LowCardinality(String)")


def test_readers_and_writers_at_once(store: StoreProcess) -> None:
    _post(store, f"CREATE TABLE busy (id UInt64, text String) {_DEDUP}")
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            client = clickhouse_connect.get_client(host=store.host, port=store.port)
            for turn in range(5):
                client.insert_arrow("busy", _rows(1000, (number * 5 + turn) * 1000))
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
    assert _post(store, "SELECT count(), uniqExact(id) FROM busy") == b"60000\t60000\n"
    _post(store, "DROP TABLE busy")


def test_a_query_that_takes_too_long_ends(store: StoreProcess) -> None:
    query = "SELECT sum(sipHash64(number)) FROM numbers(100000000000)"
    status, headers, _ = _ask(store, "POST", query.encode(), max_execution_time="1")
    assert (status, headers["x-clickhouse-exception-code"]) == (408, "159")


def test_a_reader_that_leaves_gives_its_place_back(store: StoreProcess) -> None:
    for _ in range(12):
        connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
        connection.request("POST", "/", "SELECT number FROM numbers(10000000000) FORMAT RowBinary")
        connection.getresponse().read(1000)
        connection.close()
    assert _post(store, "SELECT 1") == b"1\n"


def test_data_outlives_a_clean_stop_and_a_kill(tmp_path: Path) -> None:
    running = start_store(tmp_path / "data")
    _post(running, f"CREATE TABLE t (id UInt64, text String) {_DEDUP}")
    token = {"insert_deduplication_token": "first"}
    insert: Any = dict(query="INSERT INTO t FORMAT CSV", **token)
    assert _ask(running, "POST", b"1,a\n", **insert)[0] == 200
    assert running.stop() == 0
    running = start_store(tmp_path / "data")
    assert _ask(running, "POST", b"1,a\n", **insert)[0] == 200  # the token is still known
    assert _post(running, "SELECT count() FROM t") == b"1\n"
    assert _ask(running, "POST", b"2,b\n", query="INSERT INTO t FORMAT CSV")[0] == 200
    running.kill()
    running = start_store(tmp_path / "data")
    assert _ask(running, "POST", b"1,a\n", **insert)[0] == 200
    assert _post(running, "SELECT count() FROM t") == b"2\n"
    assert running.stop() == 0


def _refused(process: subprocess.Popen[bytes], path: Path) -> str:
    assert process.wait(timeout=60) == 2
    return Path(f"{path}.log").read_text()


def test_a_second_store_on_the_same_data_says_so(store: StoreProcess) -> None:
    text = _refused(launch_store(store.path, free_port()), store.path)
    assert f"process {store.process.pid}" in text and "--path" in text
    assert _post(store, "SELECT 1") == b"1\n"


def test_a_taken_port_and_an_open_host_are_refused(store: StoreProcess, tmp_path: Path) -> None:
    assert "--port" in _refused(launch_store(tmp_path / "a", store.port), tmp_path / "a")
    everywhere = launch_store(tmp_path / "b", free_port(), "--host", "0.0.0.0")
    assert "TIDEMILL_STORE_PASSWORD" in _refused(everywhere, tmp_path / "b")


def test_a_store_with_a_password(tmp_path: Path) -> None:
    guarded = start_store(
        tmp_path / "data", None, "--max-body", "1000", environment={"TIDEMILL_STORE_PASSWORD": "pa:ss"}
    )
    try:
        status, headers, _ = _ask(guarded, "POST", b"SELECT 1")
        assert (status, headers["x-clickhouse-exception-code"]) == (403, "516")
        assert _ask(guarded, "POST", b"SELECT 1", {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "no"})[0] == 403
        basic = "Basic " + base64.b64encode(b"default:pa:ss").decode()
        assert _ask(guarded, "POST", b"SELECT 1", {"Authorization": basic})[2] == b"1\n"
        client = clickhouse_connect.get_client(host=guarded.host, port=guarded.port, password="pa:ss")
        assert client.command("SELECT 1") == 1
        client.close()
        status, headers, _ = _ask(guarded, "POST", b"x" * 1001, {"Authorization": basic})
        assert (status, headers["x-clickhouse-exception-code"]) == (413, "229")
    finally:
        assert guarded.stop() == 0


def test_a_running_query_is_answered_before_a_clean_stop(tmp_path: Path) -> None:
    running = start_store(tmp_path / "data")
    answers: list[tuple[int, dict[str, str], bytes]] = []
    query = b"SELECT count(), sleepEachRow(0.5) FROM numbers(3) GROUP BY 2"
    asking = threading.Thread(target=lambda: answers.append(_ask(running, "POST", query, max_block_size="1")))
    asking.start()
    until(lambda: _post(running, "SELECT count() FROM system.processes") == b"2\n", what="the query runs")
    assert running.stop() == 0
    asking.join()
    assert answers[0][0] == 200 and answers[0][2] == b"3\t0\n"
