"""Which columns each landing topic's events fill, and the check of a table against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec

from consumers.sink.columns import Column, Kind, column
from tidemill.errors import Stop
from tidemill.topics import LANDING, Topic

_STATE_COLUMNS: dict[str, tuple[str, ...]] = {
    "jobs": ("job_id", "seq", "time_ms", "pipeline", "phase", "reason", "alarm_id", "candidate_version"),
    "rollouts": (
        "rollout_id",
        "seq",
        "time_ms",
        "pipeline",
        "phase",
        "reason",
        "candidate_version",
        "champion_version",
        "weight",
    ),
    "routes": ("pipeline", "epoch", "time_ms", "reason", "rollout_id"),
}
"""Tables that keep the whole record as JSON in ``state`` and these of its fields beside it."""


@dataclass(frozen=True)
class Landing:
    """How one topic lands: the table, its columns, and the time that chooses the table partition."""

    topic: Topic
    table: str
    columns: tuple[Column, ...]
    time_ms: str = "time_ms"

    def values(self, events: Sequence[Any]) -> list[Sequence[Any]]:
        """Column by column."""
        fields = list(zip(*map(msgspec.structs.astuple, events), strict=True))
        if not fields:
            return [()] * len(self.columns)
        return [fields[c.field] if c.field is not None else list(map(c.get, events)) for c in self.columns]


def landing(topic: Topic) -> Landing:
    """The landing of a topic with a table."""
    assert topic.table is not None
    event: type[msgspec.Struct] = topic.event
    if topic.table in _STATE_COLUMNS:
        columns = [column(event, name) for name in _STATE_COLUMNS[topic.table]]
        columns.append(Column("state", "json", lambda event: event))
    elif topic.table == "events":
        columns = [column(event, name) for name in ("id", "source", "type", "subject", "time_ms", "data")]
        columns.append(Column("pipeline", "text", attrgetter("data.pipeline")))
    else:
        columns = [column(event, name) for name in event.__struct_fields__ if name != "schema"]
    return Landing(topic, topic.table, tuple(columns), "start_ms" if topic.table == "windows" else "time_ms")


LANDINGS: dict[str, Landing] = {topic.name: landing(topic) for topic in LANDING}
"""By topic name."""

SOURCE_TYPES: dict[str, Kind] = {"_topic": "text", "_partition": "uint32", "_offset": "uint64", "_arrival_ms": "int64"}
"""Columns that say where a row came from."""


def check(found: Landing, described: Sequence[dict[str, Any]]) -> None:
    """Compare with ``DESCRIBE TABLE`` (name, type, default_type). Raises Stop naming every difference."""
    have = {row["name"]: row for row in described}
    wanted = [Column(name, kind, attrgetter("")) for name, kind in SOURCE_TYPES.items()]
    wanted += found.columns
    faults = []
    for one in wanted:
        row = have.pop(one.name, None)
        if row is None:
            faults.append(f"column {one.name} is missing (expected {min(one.types, key=len)})")
        elif row["type"] not in one.types:
            faults.append(f"column {one.name} is {row['type']} (expected {min(one.types, key=len)})")
    for name, row in have.items():
        if not row["default_type"] and not row["type"].startswith("Nullable("):
            faults.append(f"column {name} has no source and no DEFAULT, so it would be filled with zeros")
    if faults:
        raise Stop(
            f"table {found.table} does not fit the events of topic {found.topic.name}: {'; '.join(faults)}; "
            "run `tidemill init`, or alter the table"
        )
