"""ClickHouse over HTTP: queries, and inserts that are one request with one token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pyarrow as pa
import urllib3

from tidemill.errors import Retry, Stop, TidemillError
from tidemill.io import tables
from tidemill.settings import Settings

INSERT_TIMEOUT_S = 8.0
QUERY_TIMEOUT_S = 30.0
_SYNCED = ("fsync_after_insert", "fsync_part_directory")
NO_TABLES = (60, 81)
"""Error codes for a table or database that is not there."""
_PARSE_CODES = frozenset({6, 26, 27, 33, 38, 41, 53, 70, 72, 117, 349})
"""Error codes that blame the data: parse errors, type mismatch, unknown or missing values."""


class StoreError(TidemillError):
    """ClickHouse refused a query. ``code`` is ClickHouse's error code (0 when it gave none)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def blames_data(self) -> bool:
        """Whether the rows themselves are at fault, so that trying again cannot help."""
        return self.code in _PARSE_CODES


class Store:
    """One deployment's database. Safe to use from several threads; holds a small connection pool."""

    def __init__(self, settings: Settings, *, query_timeout_s: float = QUERY_TIMEOUT_S) -> None:
        self._query_timeout_s = query_timeout_s
        parts = urlsplit(settings.clickhouse_url)
        self.database = settings.clickhouse.database
        self._cluster, self._fsync = settings.clickhouse.cluster, settings.clickhouse.fsync
        self._base = f"{parts.scheme}://{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}/"
        self._headers = {"X-ClickHouse-User": parts.username or "default"}
        if password := os.environ.get("TIDEMILL_CLICKHOUSE_PASSWORD"):
            self._headers["X-ClickHouse-Key"] = password
        self._pool = urllib3.PoolManager(maxsize=8, retries=False)

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None, *, database: str | None = None) -> str:
        """Run one statement; give back its text. Raises Retry (store away) or StoreError."""
        return self._post(sql.encode(), self._params(parameters, database)).decode()

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a query as dictionaries. Use ``{name:Type}`` in the SQL for parameters."""
        found: list[dict[str, Any]] = self.arrow(sql, parameters).to_pylist()
        return found

    def arrow(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The result of a query as an Arrow table (strings as text). Raises Retry (store away, answer damaged)."""
        params = self._params(parameters) | {"output_format_arrow_string_as_string": "1"}
        body = self._post(f"{sql.rstrip().rstrip(';')}\nFORMAT ArrowStream".encode(), params)
        if not body:
            return pa.table({})
        try:
            with pa.ipc.open_stream(body) as reader:
                return reader.read_all()
        except (pa.ArrowException, OSError) as error:
            raise Retry(f"the answer of the store at {self._base} is damaged: {error}") from error

    def insert(self, table: str, block: pa.Table, token: str, *, timeout_s: float = INSERT_TIMEOUT_S) -> None:
        """Insert one block under a deduplication token: one request, never resent by itself.

        Raises Retry when it is unknown whether the rows arrived (time-out, connection cut, server trouble: repeat with
        the same token and rows) or StoreError when the server refused.
        """
        columns = ", ".join(f"`{name}`" for name in block.column_names)
        params = self._params(None) | {
            "query": f"INSERT INTO {table} ({columns}) FORMAT ArrowStream",
            "async_insert": "0",
            **self._deduplication(token),
        }
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, block.schema) as writer:
            writer.write_table(block)
        self._post(memoryview(sink.getvalue()), params, timeout_s=timeout_s)

    def _deduplication(self, token: str) -> dict[str, str]:
        return {"insert_deduplication_token": token, "insert_deduplicate": "1"}

    def columns(self, table: str) -> dict[str, str]:
        """Column types by name, in order."""
        return {row["name"]: row["type"] for row in self.rows(f"DESCRIBE TABLE {table}")}

    def migrate(self) -> list[str]:
        """Create the database and run the migrations it has not seen; give back their names. Safe to repeat.

        Raises Stop where there are tables of another kind than ``clickhouse.cluster`` asks for.
        """
        found = "SELECT name, engine FROM system.tables WHERE database = {database:String} FORMAT TSV"
        lines = self.command(found, {"database": self.database}, database="default").splitlines()
        if (fault := tables.misplaced(dict(line.split("\t") for line in lines), self._cluster)) is not None:
            raise Stop(fault)
        made = tables.replicated(f"CREATE DATABASE IF NOT EXISTS {self.database}", self._cluster)
        self.command(made, database="default")
        self.command(tables.replicated(tables.SEEN, self._cluster))
        seen = {row["name"] for row in self.rows("SELECT DISTINCT name FROM schema_migrations")}
        applied = []
        for name, sql in tables.migrations():
            if name in seen:
                continue
            for statement in tables.statements(sql, self._cluster):
                self.command(statement)
            self.command("INSERT INTO schema_migrations (name) SELECT {name:String}", {"name": name})
            applied.append(name)
        self._sync_inserts()
        return applied

    def _sync_inserts(self) -> None:
        """Make every table sync inserts to disk before they are acknowledged, or not, as ``clickhouse.fsync`` says."""
        if self._fsync is None:
            return
        marked = f"{_SYNCED[0]} = 1"
        rows = self.rows("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()")
        for row in rows:
            if "MergeTree" in row["engine_full"] and (marked in row["engine_full"]) != self._fsync:
                wanted = ", ".join(f"{name} = {int(self._fsync)}" for name in _SYNCED)
                self.command(tables.replicated(f"ALTER TABLE {row['name']} MODIFY SETTING {wanted}", self._cluster))

    def _params(self, parameters: Mapping[str, Any] | None, database: str | None = None) -> dict[str, str]:
        params = {"database": database or self.database}
        for name, value in (parameters or {}).items():
            params[f"param_{name}"] = _literal(value)
        return params

    def _post(self, body: Any, params: Mapping[str, str], *, timeout_s: float | None = None) -> bytes:
        try:
            answer = self._pool.request(
                "POST",
                f"{self._base}?{urlencode(params)}",
                body=body,
                headers=self._headers,
                timeout=timeout_s or self._query_timeout_s,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Retry(f"the store at {self._base} does not answer: {error}") from error
        if answer.status == 200:
            return answer.data
        code = int(answer.headers.get("X-ClickHouse-Exception-Code", "0"))
        message = answer.data[:2000].decode(errors="replace").strip()
        if code == 0 or answer.status in (502, 503, 504):
            raise Retry(f"the store answered {answer.status}: {message}")
        raise StoreError(code, message)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list | tuple):
        quoted = (f"'{_escape(v)}'" if isinstance(v, str) else _literal(v) for v in value)
        return "[" + ",".join(quoted) + "]"
    return _escape(str(value))


def _escape(text: str) -> str:
    for raw, safe in (("\\", "\\\\"), ("'", "\\'"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")):
        text = text.replace(raw, safe)
    return text
