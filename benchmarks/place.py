"""Real parts for a benchmark: a broker, a store, on ports and in a folder of their own, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tidemill.errors import Stop
from tidemill.io import kafka, topic_admin
from tidemill.io.clickhouse import Store
from tidemill.local.plan import embedded_stack
from tidemill.local.ports import free_port_base
from tidemill.local.process import Children
from tidemill.settings import Settings, load_settings
from tidemill.topics import Topic

SETTINGS = Path(__file__).parents[1] / "tidemill.yaml"
READY_WITHIN_S = 180.0
TAKEN_WITHIN_S = 600.0


@contextlib.contextmanager
def place(
    parts: Sequence[str], overrides: Mapping[str, str] | None = None, *, text: str = ""
) -> Iterator[tuple[Settings, Children]]:
    """The named parts of the embedded stack, ready, with every topic and table; and what can start more processes.

    ``overrides``: settings as environment variables (``TIDEMILL_WINDOWS__SIZE_S``); ``text``: a settings file's, in
    place of the demo's.
    """
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        file = SETTINGS
        if text:
            file = Path(folder) / "tidemill.yaml"
            file.write_text(text, encoding="utf-8")
        moved = {
            "TIDEMILL_DATA_DIR": folder,
            "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base()),
            "TIDEMILL_DEPLOYMENT": "bench",
            **(overrides or {}),
        }
        settings = load_settings(file, moved)
        children = Children({**os.environ, "TIDEMILL_SETTINGS": str(file), **moved})
        try:
            for name in parts:
                start(settings, children, name)
            yield settings, children
        finally:
            children.close()


def start(settings: Settings, children: Children, name: str) -> int:
    """Start one part (``kafka``, ``store``, a role), wait until it is ready, make its topics or tables; its process id.

    Raises Stop.
    """
    process = embedded_stack(settings, [name])[0]
    if process.before is not None:
        process.before()
    log = settings.data_dir / "logs" / f"{name}.log"
    started = children.start(process, log)
    end = time.monotonic() + READY_WITHIN_S
    while process.probe is not None and (reason := process.probe()) is not None:
        if started.poll() is not None:
            raise Stop(f"{name} ended with code {started.returncode}: {log.read_text()[-2000:]}")
        if time.monotonic() > end:
            raise Stop(f"{name} is not ready within {READY_WITHIN_S:g} s: {reason}")
        time.sleep(0.1)
    if name == "kafka":
        topic_admin.ensure_topics(settings)
    if name == "store":
        Store(settings).migrate()
    return int(started.pid)


def fill(settings: Settings, topic: Topic, messages: Iterable[tuple[str | bytes, bytes]]) -> int:
    """Put messages (key, value) on the broker, before anything is measured; their mean size, bytes. Raises Stop."""
    made = kafka.producer(
        settings, "bench-fill", linger_ms=50, queue_buffering_max_messages=500_000, queue_buffering_max_kbytes=262_144
    )
    failures: list[str] = []
    note = kafka.delivered(failures)
    count = size = 0
    for key, value in messages:
        kafka.hand_over(made, topic.name, value, key, on_delivery=note)
        count += 1
        size += len(value)
    if made.flush(TAKEN_WITHIN_S) or failures:
        raise Stop(f"the broker did not take the messages of the benchmark: {failures[:1] or 'no answer'}")
    return size // count
