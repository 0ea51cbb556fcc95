"""The tables' migrations as statements, for one server or for a cluster of replicas. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources

from tidemill.errors import Stop

_MIGRATION = re.compile(r"^(\d{4})_[a-z_]+\.sql$")
_MADE = re.compile(r"^(CREATE DATABASE IF NOT EXISTS|CREATE TABLE IF NOT EXISTS|ALTER TABLE) (\w+)")
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
WINDOW_S = 604_800
"""How long replicas remember a token, seconds: a range may stay pending while the store is away. Default: an hour."""
SEEN = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (name String, applied DateTime DEFAULT now()) "
    "ENGINE = MergeTree ORDER BY name"
)
"""The table of the migrations that were run."""


def migrations() -> list[tuple[str, str]]:
    """Name and SQL of every migration, in order. Raises Stop on a gap in the numbers."""
    folder = resources.files("tidemill.sql") / "migrations"
    found = sorted(
        (item.name, item.read_text(encoding="utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")
    )
    for number, (name, _) in enumerate(found, start=1):
        match = _MIGRATION.match(name)
        if match is None or int(match[1]) != number:
            raise Stop(f"migration {name}: expected number {number:04d} and a name like {number:04d}_what_it_does.sql")
    return found


def statements(sql: str, cluster: str = "") -> Sequence[str]:
    """The statements of a migration: separated by a semicolon at the end of a line; comment lines left out."""
    kept = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    parts = (part.strip() for part in re.split(r";\s*(?:\n|$)", kept))
    return [replicated(part, cluster) for part in parts if part]


def replicated(statement: str, cluster: str) -> str:
    """A statement that makes or alters a table, for all servers of ``cluster`` (as it is where that is empty).

    Tables become ReplicatedMergeTree at the server's default place in Keeper, with a window of tokens there.
    """
    if not cluster:
        return statement
    everywhere = _MADE.sub(rf"\1 \2 ON CLUSTER `{cluster}`", statement)
    kept = everywhere.replace("ENGINE = MergeTree", "ENGINE = ReplicatedMergeTree")
    window = rf"replicated_deduplication_window = \1, replicated_deduplication_window_seconds = {WINDOW_S}"
    return _WINDOW.sub(window, kept)


def misplaced(engines: Mapping[str, str], cluster: str) -> str | None:
    """What is wrong with the engines of tables (by name) where ``clickhouse.cluster`` says ``cluster``; else None."""
    for table, engine in sorted(engines.items()):
        if cluster and engine == "MergeTree":
            return (
                f"clickhouse.cluster is {cluster!r}, but table {table} is not replicated: choose another "
                "clickhouse.database, or attach the table as replicated with ClickHouse's own tools"
            )
        if not cluster and engine.startswith("Replicated"):
            return f"table {table} is replicated, but clickhouse.cluster is empty: set it to the cluster's name"
    return None
