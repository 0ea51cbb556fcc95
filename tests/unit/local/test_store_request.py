"""URL, headers and form of a request; errors and their statuses; bodies and codings."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest

from tidemill.local.store import codings
from tidemill.local.store.body import received
from tidemill.local.store.faults import StoreFault, database_fault, refusal
from tidemill.local.store.multipart import boundary_of, parts
from tidemill.local.store.request import admit, credentials, from_elsewhere, read_ask


def test_the_url_holds_query_parameters_and_settings() -> None:
    ask = read_ask("query=SELECT+1&param_x=a%5Ctb&max_threads=1&database=d&session_id=s&default_format=JSON", {})
    assert (ask.query, ask.database, ask.default_format) == (b"SELECT 1", "d", "JSON")
    assert (dict(ask.parameters), dict(ask.settings)) == ({"x": "a\\tb"}, {"max_threads": "1"})


def test_form_fields_count_like_the_url_and_files_are_tables() -> None:
    ask = read_ask(
        "ext_structure=a+UInt8&two_types=String,UInt8", {}, [("query", b"SELECT"), ("param_x", b"1")], ["ext", "two"]
    )
    assert ask.query == b"SELECT" and ask.parameters == {"x": "1"} and not ask.settings
    assert ask.external["ext"] == {"structure": "a UInt8", "format": "TabSeparated"}
    assert ask.external["two"]["structure"] == "_1 String, _2 UInt8"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("compress=1", 48),
        ("decompress=1", 48),
        ("a%27b=1", 115),
        ("client_protocol_version=x", 36),
        ("client_protocol_version=-1", 36),
    ],
)
def test_a_url_that_cannot_be_served(query: str, code: int) -> None:
    with pytest.raises(StoreFault) as refused:
        read_ask(query, {})
    assert refused.value.code == code


def test_an_external_table_needs_its_structure() -> None:
    with pytest.raises(StoreFault, match="ext_structure"):
        read_ask("", {}, (), ["ext"])


def test_passwords_come_by_header_basic_or_url() -> None:
    basic = "Basic " + base64.b64encode(b"u:p:q").decode()
    assert credentials({"authorization": basic}, "") == ("u", "p:q")
    assert credentials({"x-clickhouse-user": "u", "x-clickhouse-key": "k"}, "") == ("u", "k")
    assert credentials({}, "user=u&password=p%26q") == ("u", "p&q")
    with pytest.raises(StoreFault):
        credentials({"authorization": "Basic %%%"}, "")


@pytest.mark.parametrize("given", [("", ""), ("default", "wrong"), ("other", "right"), ("default", "right ")])
def test_a_wrong_user_or_password_is_refused(given: tuple[str, str]) -> None:
    with pytest.raises(StoreFault) as refused:
        admit(given, "right")
    assert (refused.value.code, refused.value.status) == (516, 403)


def test_the_right_password_and_no_password_at_all_are_let_in() -> None:
    admit(("default", "right"), "right")
    admit(("", "right"), "right")
    admit(("", ""), None)


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),
        ({"host": "127.0.0.1:8123"}, False),
        ({"host": "[::1]:8123"}, False),
        ({"host": "evil.example:8123"}, True),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, True),
        ({"host": "localhost", "sec-fetch-site": "same-origin"}, False),
    ],
)
def test_pages_of_other_sites_are_noticed(headers: dict[str, str], elsewhere: bool) -> None:
    assert from_elsewhere(headers, ("localhost", "127.0.0.1", "[::1]")) is elsewhere


@pytest.mark.parametrize(
    ("message", "code", "status"),
    [
        ("Streaming query failed: Code: 60. DB::Exception: no (UNKNOWN_TABLE)", 60, 404),
        ("Code: 62. DB::Exception: Syntax error", 62, 400),
        ("Code: 159. DB::Exception: Timeout", 159, 408),
        ("Code: 395. DB::Exception: throwIf", 395, 500),
        ("something else", 1001, 500),
        ("", 1001, 500),
    ],
)
def test_engine_errors_keep_code_and_text(message: str, code: int, status: int) -> None:
    fault = database_fault(message)
    assert (fault.code, fault.status) == (code, status)
    assert fault.text.startswith(f"Code: {code}. ")


def test_a_refusal_reads_like_the_engines_own() -> None:
    assert refusal(164, "no").text == "Code: 164. DB::Exception: no (READONLY)"


@pytest.mark.parametrize("coding", codings.CODINGS)
def test_codings_round_trip(coding: str) -> None:
    data = b"row\n" * 700_000
    packer = codings.packer(coding)
    packed = packer.compress(data[:10]) + packer.compress(data[10:]) + packer.flush()
    assert len(packed) < len(data) // 10
    assert b"".join(codings.unpack(io.BytesIO(packed), coding, limit=len(data))) == data
    with pytest.raises(StoreFault) as bomb:
        list(codings.unpack(io.BytesIO(packed), coding, limit=len(data) - 1))
    assert bomb.value.status == 413
    empty = codings.packer(coding).flush()
    assert b"".join(codings.unpack(io.BytesIO(empty), coding, limit=1)) == b""


@pytest.mark.parametrize("coding", codings.CODINGS)
def test_broken_and_short_bodies_are_refused(coding: str) -> None:
    packer = codings.packer(coding)
    packed = packer.compress(bytes(range(256)) * 40) + packer.flush()
    for body in (b"not packed at all", packed[: len(packed) // 2]):
        with pytest.raises(StoreFault) as refused:
            list(codings.unpack(io.BytesIO(body), coding, limit=1 << 20))
        assert refused.value.code in (3, 271)


def test_an_unknown_coding_is_named() -> None:
    with pytest.raises(StoreFault, match="'br'"):
        list(codings.unpack(io.BytesIO(b"x"), "br", limit=10))


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("br", ""),
        ("lz4,zstd", "lz4"),
        ("gzip;q=0, zstd", "zstd"),
        ("identity", ""),
        ("br, gzip;q=0.5", "gzip"),
    ],
)
def test_the_clients_first_choice_is_taken(accepted: str, coding: str) -> None:
    assert codings.chosen_coding(accepted) == coding


def _read(raw: bytes, headers: dict[str, str], spool: Path, limit: int = 100) -> bytes:
    with received(io.BufferedReader(io.BytesIO(raw)), headers, limit=limit, spool=spool) as body:
        return body.read()


def test_bodies_by_length_and_in_chunks(tmp_path: Path) -> None:
    assert _read(b"abcdef", {"content-length": "4"}, tmp_path) == b"abcd"
    chunked = b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"
    assert _read(chunked, {"transfer-encoding": "chunked"}, tmp_path) == b"abcd"
    assert _read(b"", {}, tmp_path) == b""


@pytest.mark.parametrize(
    ("raw", "headers", "code"),
    [
        (b"abc", {"content-length": "4"}, 3),
        (b"abc", {"content-length": "-4"}, 36),
        (b"abc", {"content-length": "101"}, 229),
        (b"3\r\nab", {"transfer-encoding": "chunked"}, 3),
        (b"zz\r\n", {"transfer-encoding": "chunked"}, 3),
        (b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", {"transfer-encoding": "chunked"}, 229),
    ],
)
def test_bodies_that_are_cut_off_or_too_large(raw: bytes, headers: dict[str, str], code: int, tmp_path: Path) -> None:
    with pytest.raises(StoreFault) as refused:
        _read(raw, headers, tmp_path)
    assert refused.value.code == code


def test_multipart_fields_and_files() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="ext"; filename="f"\r\n\r\n1\r\n2\r\n--b--\r\n'
    )
    assert boundary_of("multipart/form-data; boundary=b") == b"b"
    assert boundary_of("text/plain") is None
    found = parts(body, b"b")
    assert [(part.name, part.file, part.content) for part in found] == [
        ("query", False, b"SELECT 1"),
        ("ext", True, b"1\r\n2"),
    ]


def test_multipart_that_is_cut_off_is_refused() -> None:
    with pytest.raises(StoreFault, match="cut off"):
        parts(b'--b\r\nContent-Disposition: form-data; name="q"\r\n\r\nSELECT', b"b")
    with pytest.raises(StoreFault, match="no name"):
        parts(b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", b"b")
    with pytest.raises(StoreFault, match="boundary"):
        boundary_of("multipart/form-data")


def test_an_engine_that_has_given_up_is_noticed() -> None:
    assert database_fault("Code: 236. DB::Exception: The server is shutting down due to a fatal error. (ABORTED)").fatal
    assert not database_fault("Code: 236. DB::Exception: Cancelled. (ABORTED)").fatal
