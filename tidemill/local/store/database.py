"""chDB behind a door: one data path, a fresh session for every request, bounded numbers of both.

A session is a connection of its own inside chDB, so settings, database and temporary tables of one request
never reach another. Opening one costs less than a millisecond. chDB itself lives as long as its first one.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tidemill.errors import Stop
from tidemill.local.store.faults import TOO_MANY_QUERIES, StoreFault, database_fault, refusal

# Caches and threads for a small machine; chDB's own defaults reserve gigabytes for each cache.
_SMALL = {
    "mark_cache_size": 256 << 20,
    "index_mark_cache_size": 64 << 20,
    "primary_index_cache_size": 256 << 20,
    "text_index_tokens_cache_size": 16 << 20,
    "text_index_header_cache_size": 16 << 20,
    "text_index_postings_cache_size": 16 << 20,
    "vector_similarity_index_cache_size": 16 << 20,
    "parquet_metadata_cache_size": 16 << 20,
    "max_thread_pool_size": 256,
}
# What a server does and chDB does not by default. Asynchronous inserts lose deduplication tokens.
_SERVER_LIKE = {"implicit_select": "0", "allow_introspection_functions": "0", "async_insert": "0"}


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Bounds of chDB. ``memory_bytes`` is chDB's own accounting, for all queries together."""

    max_threads: int = 2
    memory_bytes: int = 4 << 30
    sessions: int = 8
    wait_s: float = 30.0
    query_s: int = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished statement: its output and what it counted."""

    body: bytes
    rows_read: int
    rows_written: int
    bytes_written: int


class Database:
    """chDB on one data path. ``open`` once a process, ``close`` when no session is left."""

    def __init__(self, path: Path, limits: DatabaseLimits) -> None:
        """Opens or creates the data at ``path``. Raises Stop when another process has it."""
        import chdb

        self._limits = limits
        self._lock = _hold(path)
        small = {**_SMALL, "max_server_memory_usage": limits.memory_bytes}
        self._where = f"{path}/data?{urlencode(small)}"
        self._connect = chdb.connect
        try:
            self._anchor = chdb.connect(self._where)
        except RuntimeError as error:
            raise Stop(f"--path {path}: chDB cannot open this data; choose another --path. It says: {error}") from error
        self._places = threading.BoundedSemaphore(limits.sessions)
        self.version, self.timezone = self._anchor.query("SELECT version(), timezone()", "TSV").bytes().decode().split()

    @contextmanager
    def session(self, settings: Mapping[str, str], database: str = "", *, readonly: bool = False) -> Iterator[Session]:
        """A session for one request. Waits for a free place, at most ``wait_s``; then raises StoreFault."""
        if not self._places.acquire(timeout=self._limits.wait_s):
            raise refusal(TOO_MANY_QUERIES, f"{self._limits.sessions} queries are running: try again")
        try:
            session = Session(self._connect(self._where))
            try:
                self._prepare(session, settings, database, readonly)
                yield session
            finally:
                session.close()
        finally:
            self._places.release()

    def close(self, *, wait_s: float) -> bool:
        """Takes all places, so that no new session starts, and closes the data. False when sessions were left."""
        end = time.monotonic() + wait_s
        for _ in range(self._limits.sessions):
            if not self._places.acquire(timeout=max(0.0, end - time.monotonic())):
                return False
        self._anchor.close()
        os.close(self._lock)
        return True

    def _prepare(self, session: Session, settings: Mapping[str, str], database: str, readonly: bool) -> None:
        base = {"max_threads": str(self._limits.max_threads), "max_execution_time": str(self._limits.query_s)}
        if database and database != "default":
            session.run("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`")
        wanted = {**_SERVER_LIKE, **base, **settings}
        if readonly and wanted.get("readonly") != "1":
            wanted["readonly"] = "2"
        session.set(wanted)


class Session:
    """One request's connection. Not for use by two threads."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._blocks: Any = None

    def close(self) -> None:
        """Ends the session. A stream in it is cancelled first: cancelling it later would crash chDB."""
        try:
            if self._blocks is not None:
                self._blocks.close()
        finally:
            self._connection.close()

    def set(self, settings: Mapping[str, str]) -> None:
        """Settings for the rest of this session; names must be checked before."""
        if settings:
            self.run("SET " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items()))

    def run(self, text: str, form: str = "TabSeparated", parameters: Mapping[str, str] | None = None) -> Answer:
        """Runs one statement to its end and returns all of its output. Raises StoreFault."""
        with _told():
            result = self._connection.query(text, form, params=dict(parameters or {}))
        return Answer(result.bytes(), result.rows_read(), result.rows_written(), result.bytes_written())

    def stream(self, text: str, form: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        """The output of a reading statement, one block a piece. Raises StoreFault, possibly in the middle."""
        with _told():
            self._blocks = self._connection.send_query(text, form, params=dict(parameters))
        while True:
            with _told():
                block = self._blocks.fetch()
            if block is None:
                return
            yield block.bytes()

    def insert(self, text: str, form: str, rows: Iterable[bytes], settings: str = "") -> Answer:
        """``rows`` into the INSERT ``text`` with the clause ``settings``: all or (below a million rows) nothing.

        They go through a file in memory: chDB's own insert streams swallow what goes wrong at the end (a full disk,
        too many parts, a constraint) and tell of rows that were never written. Raises StoreFault.
        """
        with os.fdopen(os.memfd_create("rows"), "wb") as file:
            file.writelines(rows)
            file.flush()
            done = self.run(f"{text} FROM INFILE '/proc/self/fd/{file.fileno()}' {settings} FORMAT {form}")
        return Answer(b"", 0, done.rows_written, done.bytes_written)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StoreFault:
        raise
    except Exception as error:  # chDB raises ChdbError and bare RuntimeError alike
        raise database_fault(str(error)) from error


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _hold(path: Path) -> int:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path / "store.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Stop(
            f"--path {path}: a store (process {owner}) already runs on this data; stop it or choose another --path"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock
