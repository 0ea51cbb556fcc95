"""Looks at the store while a scenario runs: how far each source partition can be seen in its table."""

from __future__ import annotations

import threading
import time

from tidemill.errors import TidemillError
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings

_EVERY_S = 0.25
_SEEN = " UNION ALL ".join(
    f"SELECT _topic AS topic, _partition AS partition, max(_offset) AS highest FROM {table} GROUP BY topic, partition"
    for table in ("requests", "responses", "feedback")
)


class Watcher(threading.Thread):
    """``seen``: (epoch ms, topic, partition, highest offset), in order of time. A store that is away is asked again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="watcher", daemon=True)
        self.seen: list[tuple[int, str, int, int]] = []
        self._store = Store(settings)
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(_EVERY_S):
            try:
                found = self._store.rows(_SEEN)
            except TidemillError:
                continue
            now_ms = int(time.time() * 1000)
            self.seen += [(now_ms, row["topic"], row["partition"], row["highest"]) for row in found]

    def stop(self) -> None:
        self._end.set()
        self.join(60)
