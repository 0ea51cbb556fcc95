"""Where the store cuts a statement from its rows, and which statements it refuses."""

from __future__ import annotations

import pytest

from tidemill.local.store.faults import StoreFault
from tidemill.local.store.statement import understand


@pytest.mark.parametrize(
    ("query", "text", "form", "rows"),
    [
        (b"INSERT INTO t (a, b) FORMAT Native\n\x01\x02", "INSERT INTO t (a, b) ", "Native", b"\x01\x02"),
        (b"insert into t format JSONEachRow {}", "insert into t ", "JSONEachRow", b"{}"),
        (b"INSERT INTO db.t FORMAT CSV \n\n1", "INSERT INTO db.t ", "CSV", b"\n1"),
        (b"INSERT INTO `values` VALUES (1, 'FORMAT x')", "INSERT INTO `values` ", "Values", b" (1, 'FORMAT x')"),
        (b"INSERT INTO db.values (a) VALUES (1)", "INSERT INTO db.values (a) ", "Values", b" (1)"),
        (b"INSERT INTO t SETTINGS x='FORMAT CSV' FORMAT TSV\n1", "INSERT INTO t ", "TSV", b"1"),
        (b"/* FORMAT A */ INSERT INTO t -- FORMAT B\n FORMAT C\n1", None, "C", b"1"),
        (b"INSERT INTO TABLE t FORMAT TSV", "INSERT INTO TABLE t ", "TSV", b""),
    ],
)
def test_an_insert_is_cut_from_its_rows(query: bytes, text: str | None, form: str, rows: bytes) -> None:
    found = understand(query)
    assert (found.kind, found.format, query[found.data_at :], found.changes) == ("insert", form, rows, True)
    assert text is None or found.text == text


def test_an_inserts_settings_stand_apart() -> None:
    for query in (
        b"INSERT INTO t (a) settings x=1, y='b' FORMAT TSV\n1",
        b"INSERT INTO t (a) settings x=1, y='b' VALUES (1)",
    ):
        found = understand(query)
        assert (found.text, found.settings) == ("INSERT INTO t (a) ", "settings x=1, y='b' ")
    assert understand(b"INSERT INTO `SETTINGS` (settings) VALUES (1)").settings == ""


def test_binary_rows_are_never_read_as_text() -> None:
    rows = bytes(range(256)) * 4
    query = b"INSERT INTO t FORMAT RowBinary\n" + rows
    assert query[understand(query).data_at :] == rows


@pytest.mark.parametrize(
    ("query", "kind", "form", "changes"),
    [
        (b"SELECT 1", "read", None, False),
        (b" -- x\n(select 1) FORMAT JSON", "read", "JSON", False),
        (b"WITH 1 AS x SELECT x FORMAT CSV SETTINGS a = 1", "read", "CSV", False),
        (b"SELECT 'FORMAT TSV'", "read", None, False),
        (b"SELECT 1;", "read", None, False),
        (b"SHOW TABLES", "other", None, False),
        (b"INSERT INTO t SELECT 1", "other", None, True),
        (b"INSERT INTO t WITH 1 AS x SELECT x", "other", None, True),
        (b"WITH 1 AS x INSERT INTO t SELECT x", "other", None, True),
        (b"DROP TABLE t", "other", None, True),
    ],
)
def test_what_a_statement_is(query: bytes, kind: str, form: str | None, changes: bool) -> None:
    found = understand(query)
    assert (found.kind, found.format, found.changes) == (kind, form, changes)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (b"", 62),
        (b" /* nothing */ ", 62),
        (b"SELECT 1; SELECT 2", 62),
        (b"SELECT 1; DROP TABLE t", 62),
        (b"INSERT INTO t", 62),
        (b"SELECT \xff\xfe", 62),
        (b"SELECT * FROM file('/etc/hostname')", 497),
        (b"SELECT * FROM `x`, URL ('http://127.0.0.1')", 497),
        (b"SELECT * FROM `file`('/etc/hostname')", 497),
        (b'SELECT * FROM "f\\x69le"(1)', 497),
        (b"INSERT INTO FUNCTION file('x.csv') SELECT 1", 497),
        (b"INSERT INTO t FROM INFILE '/etc/hostname' FORMAT CSV", 497),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", 497),
        (b"CREATE TABLE t (a Int8) ENGINE = File(CSV, 'x')", 497),
    ],
)
def test_refusals(query: bytes, code: int) -> None:
    with pytest.raises(StoreFault) as refused:
        understand(query)
    assert refused.value.code == code


def test_a_name_that_only_looks_like_a_way_out_is_fine() -> None:
    assert understand(b"SELECT file, url FROM t WHERE url = 'file('").kind == "read"
