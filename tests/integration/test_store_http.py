"""The store as plain HTTP sees it, against a real process."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from typing import Any

import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard

from tests.integration.store_fixture import StoreProcess
from tests.integration.store_requests import DEDUP, ask, post


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
    found, headers, body = ask(store, "POST", query.encode())
    assert (found, headers["x-clickhouse-exception-code"]) == (status, str(code)), body
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_a_broken_stream_is_no_whole_answer_for_plain_http(store: StoreProcess) -> None:
    query = b"SELECT number, throwIf(number = 900000) FROM numbers(1000000) FORMAT TSV"
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(store, "POST", query)
    assert b"__exception__" in broken.value.partial[-2000:]
    status, headers, _ = ask(store, "POST", query, wait_end_of_query="1")
    assert (status, headers["x-clickhouse-exception-code"]) == (500, "395")


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
    status, headers, body = ask(store, "POST", query, {"Content-Encoding": coding, "Accept-Encoding": coding})
    assert (status, headers["content-encoding"]) == (200, coding)
    assert unpack[coding](body) == b"".join(b"%d\n" % number for number in range(100_000))
    status, headers, body = ask(store, "POST", b"not packed", {"Content-Encoding": coding})
    assert status == 500 and headers["x-clickhouse-exception-code"] in ("3", "271")
    _, headers, _ = ask(
        store,
        "POST",
        b"SELECT number FROM numbers(100000)",
        {"Accept-Encoding": coding},
        enable_http_compression="0",
    )
    assert "content-encoding" not in headers


def test_plain_http(store: StoreProcess) -> None:
    assert ask(store, "GET")[2] == b"Ok.\n"
    status, headers, body = ask(store, "GET", query="SELECT 1 AS one", default_format="JSONEachRow", query_id="q1")
    assert (status, body, headers["x-clickhouse-format"]) == (200, b'{"one":1}\n', "JSONEachRow")
    assert headers["x-clickhouse-query-id"] == "q1"
    assert ask(store, "POST", b"1 FORMAT CSV", query="SELECT")[2] == b"1\n"
    assert ask(store, "GET", query="SELECT {x:String}", param_x="a\\tb")[2] == b"a\\tb\n"
    assert ask(store, "GET", query="SELECT currentDatabase()", database="system")[2] == b"system\n"
    assert ask(store, "GET", query="SELECT getSetting('max_threads')", max_threads="1")[2] == b"1\n"
    assert json.loads(post(store, "SELECT 1 AS x LIMIT 0 FORMAT JSON"))["meta"][0]["name"] == "x"
    assert post(store, "SELECT 1 WHERE 0 FORMAT Native") == b""


def test_an_insert_with_its_rows_in_the_body(store: StoreProcess) -> None:
    post(store, f"CREATE TABLE plain (id UInt64, text String) {DEDUP}")
    body = b'{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n'
    status, headers, _ = ask(store, "POST", body, query="INSERT INTO plain FORMAT JSONEachRow")
    assert status == 200 and json.loads(headers["x-clickhouse-summary"])["written_rows"] == "2"
    chunks = http.client.HTTPConnection(store.host, store.port, timeout=60)
    chunks.request("POST", "/", iter([b"INSERT INTO plain FORM", b"AT CSV\n3", b",c\n"]), encode_chunked=True)
    assert chunks.getresponse().status == 200
    chunks.close()
    status, _, _ = ask(store, "POST", b"4,d\n", query="INSERT INTO {t:Identifier} FORMAT CSV", param_t="plain")
    assert status == 200
    assert post(store, "SELECT count(), uniqExact(id) FROM plain") == b"4\t4\n"
    post(store, "DROP TABLE plain")


def test_large_bodies_and_expressions_in_values(store: StoreProcess) -> None:
    post(store, f"CREATE TABLE large (id UInt64, text String) {DEDUP}")
    lines = b"".join(b"%d,%b\n" % (number, b"x" * 100) for number in range(200_000))
    assert len(lines) > 16 << 20
    assert ask(store, "POST", b"INSERT INTO large FORMAT CSV\n" + lines)[0] == 200
    packed = {"Content-Encoding": "zstd"}
    assert ask(store, "POST", zstandard.compress(lines), packed, query="INSERT INTO large FORMAT CSV")[0] == 200
    values = b"INSERT INTO large VALUES ({x:UInt64} + 1, upper('q'))" + b", (0, '')" * 200_000
    assert ask(store, "POST", values, param_x="1000000")[0] == 200
    assert (
        post(store, "SELECT count(), max(id) FROM large") == b"400001\t1000001\n"
    )  # the same rows again are a duplicate
    assert ask(store, "POST", b"SELECT '" + b"x" * (2 << 20) + b"'")[0] in (400, 413)
    post(store, "WITH 5 AS x INSERT INTO large SELECT x, 'w'")
    post(store, "DROP TABLE large")


def test_asynchronous_inserts_land_and_tell_their_errors(store: StoreProcess) -> None:
    post(store, f"CREATE TABLE later (id UInt64, text String) {DEDUP}")
    asynchronous: Any = {"async_insert": "1", "wait_for_async_insert": "1"}
    assert ask(store, "POST", b"1,a\n", query="INSERT INTO later FORMAT CSV", **asynchronous)[0] == 200
    assert ask(store, "POST", b"x,a\n", query="INSERT INTO later FORMAT CSV", **asynchronous)[0] == 400
    assert post(store, "SELECT count() FROM later") == b"1\n"
    post(store, "DROP TABLE later")


def test_get_only_reads(store: StoreProcess) -> None:
    for query in ("CREATE TABLE g (a Int8) ENGINE = Memory", "INSERT INTO g VALUES (1)", "DROP DATABASE default"):
        status, headers, _ = ask(store, "GET", query=query)
        assert (status, headers["x-clickhouse-exception-code"]) == (500, "164")


def test_pages_of_other_sites_are_refused(store: StoreProcess) -> None:
    assert ask(store, "POST", b"SELECT 1", {"Host": "evil.example"})[0] == 403
    assert ask(store, "POST", b"SELECT 1", {"Sec-Fetch-Site": "cross-site"})[0] == 403


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
    block = post(store, query, client_protocol_version="54460")
    assert block.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x02\x02\x01a\x16LowCardinality(String)\x00")
    assert post(store, query).startswith(b"\x02\x02\x01a\x16LowCardinality(String)")


def test_a_query_that_takes_too_long_ends(store: StoreProcess) -> None:
    query = "SELECT sum(sipHash64(number)) FROM numbers(100000000000)"
    status, headers, _ = ask(store, "POST", query.encode(), max_execution_time="1")
    assert (status, headers["x-clickhouse-exception-code"]) == (408, "159")


def test_a_reader_that_leaves_gives_its_place_back(store: StoreProcess) -> None:
    for _ in range(12):
        connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
        connection.request("POST", "/", "SELECT number FROM numbers(10000000000) FORMAT RowBinary")
        connection.getresponse().read(1000)
        connection.close()
    assert post(store, "SELECT 1") == b"1\n"
