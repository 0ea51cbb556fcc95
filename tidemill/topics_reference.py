"""The topics' reference page, made from the table itself: ``python -m tidemill.topics_reference``."""

from __future__ import annotations

from tidemill.contracts import file_name
from tidemill.topics import DAY_MS, TOPICS, Topic

HEAD = """\
# Topics

Every event is one JSON message; its schema is in `tidemill/schemas/`, examples in `tidemill/schemas/examples/`.
Each topic but `serving.gateways` and `alerts.silences` has a dead-letter topic `<topic>.dlq` that takes rejected
messages unchanged, with the reason in their headers (one larger than 16 MiB as a stub: its beginning, with size and
SHA-256 of the whole in headers), and keeps them for 30 days:
[what to do with them](../how-to/troubleshoot.md#dead-letters).
Times are epoch milliseconds (`*_ms`), durations carry their unit, money is in millionths (`*_micros`).

This page is made by `python -m tidemill.topics_reference`; a test keeps it true.

| topic | key | written by | read by | partitions | kept | table | schema |
|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    return HEAD + "".join(_row(topic) for topic in TOPICS)


def _row(topic: Topic) -> str:
    kept = "latest per key" if topic.compacted else _age(topic.retention_ms)
    table = f"`{topic.table}`" if topic.table else "–"
    cells = (f"`{topic.name}`", topic.key, topic.written_by, topic.read_by, str(topic.partitions), kept, table)
    return f"| {' | '.join(cells)} | `{file_name(topic)}` |\n"


def _age(retention_ms: int) -> str:
    days = retention_ms / DAY_MS
    return f"{days:.0f} days" if days >= 2 else f"{retention_ms / 3_600_000:.0f} h"


if __name__ == "__main__":
    print(page(), end="")
