"""The sink stops at its limits with a clear error, loses and skips nothing, and goes on exactly once it may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest
from confluent_kafka import Message

from tests.integration.role_process import ROOT, Role
from tests.integration.store_fixture import StoreProcess
from tests.integration.test_sink import has, lag, landed, letters, moved, responses, send, sink
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings
from tidemill.topics import RESPONSES

Sent = list[tuple[bytes | None, bytes | None]]


@pytest.fixture
def deployment(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> Iterator[Settings]:
    """The settings with the test store, a database of its own and empty topics."""
    yield moved(settings, store, unique)


def bad(count: int, *, start: int = 0, key: bytes | None = None) -> Sent:
    return [(key or f"bad-{n}".encode(), f"no event {n}".encode()) for n in range(start, start + count)]


def limited(settings: Settings, **limits: float) -> Role:
    """The sink with other limits."""
    role = sink(settings)
    more = {f"TIDEMILL_DEAD_LETTERS__{name.upper()}": str(value) for name, value in limits.items()}
    return replace(role, environment={**role.environment, **more})


def stopped(role: Role) -> str:
    """Its last words, once it has ended by itself."""
    assert role.process is not None
    assert role.process.wait(120) == 1, role.text()
    return role.text().strip().splitlines()[-1]


def values(found: list[Message]) -> list[bytes]:
    return sorted(message.value() for message in found)


def test_too_large_a_share_stops_the_sink_and_once_raised_it_goes_on_exactly(deployment: Settings) -> None:
    store = Store(deployment)
    with sink(deployment).start() as role:
        send(deployment, RESPONSES, responses(200))
        role.until(partial(has, store, "responses", 200), what="rows land")
        send(deployment, RESPONSES, bad(6_000))
        send(deployment, RESPONSES, responses(200, start=200))
        said = stopped(role)
        assert f"{RESPONSES.name}/" in said and "more than dead_letters.max_share 0.5" in said
        assert "first: json:" in said and "Mend the producer, then set it to 1 until these are through" in said
        kept = values(letters(deployment, RESPONSES))
        assert len(kept) < 2 * 1_000
        role.start()
        assert "dead_letters.max_share" in stopped(role)
        assert values(letters(deployment, RESPONSES)) == kept
    with limited(deployment, max_share=1).start() as role:
        role.until(partial(has, store, "responses", 400), what="the rows behind land")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
    assert values(letters(deployment, RESPONSES)) == sorted(value for _, value in bad(6_000) if value)
    assert landed(store, "responses") == (400, 400)


def test_a_restart_does_not_forget_what_was_refused_before(deployment: Settings) -> None:
    """Fewer in each range than would say anything; one restart after another must not drain the topic."""
    with sink(deployment).start() as role:
        role.ready()
        sent = 0
        while sent < 900:
            send(deployment, RESPONSES, bad(300, start=sent, key=b"one partition"))
            sent += 300
            role.until(lambda so_far=sent: len(letters(deployment, RESPONSES)) == so_far, what="they are refused")  # type: ignore[misc]
        assert role.stop() == 0
        for start in (900, 1_200):
            send(deployment, RESPONSES, bad(300, start=start, key=b"one partition"))
            role.start()
            assert "1,000 of the last 1,000 messages refused" in stopped(role)
    assert len(letters(deployment, RESPONSES)) == 900


def test_an_hours_letters_stop_the_sink_also_after_a_restart(deployment: Settings) -> None:
    store = Store(deployment)
    with limited(deployment, max_per_hour=100).start() as role:
        send(deployment, RESPONSES, bad(60) + responses(1_000))
        role.until(partial(has, store, "responses", 1_000), what="rows land")
        role.until(lambda: len(letters(deployment, RESPONSES)) == 60, what="few are refused")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
        assert role.stop() == 0
    send(deployment, RESPONSES, bad(60, start=60, key=b"one partition"))
    with limited(deployment, max_per_hour=100).start() as role:
        said = stopped(role)
        assert "60 dead letters in an hour and 60 more, over dead_letters.max_per_hour 100" in said
        assert "or `tidemill dlq drop`" in said
    with sink(deployment).start() as role:
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
    assert values(letters(deployment, RESPONSES)) == sorted(value for _, value in bad(120) if value)
    assert landed(store, "responses") == (1_000, 1_000)


@dataclass
class BadDeploy(Role):
    """A sink whose decoder refuses two of three good events."""

    def start(self) -> Role:
        script = (
            "import sys\n"
            "from tidemill.bulk import BulkDecoder\n"
            "from tidemill.codec import Decoder\n"
            "from tidemill.errors import Quarantine\n"
            "good = Decoder.__call__\n"
            "def worse(self, data):\n"
            "    event = good(self, data)\n"
            "    if sum(event.call_id.encode()) % 3: raise Quarantine('schema: no field for it')\n"
            "    return event\n"
            "Decoder.__call__ = worse\n"
            "BulkDecoder.__call__ = BulkDecoder._one_by_one\n"
            "from tidemill.cli.main import main\n"
            "main()\n"
        )
        command = [sys.executable, "-c", script, "--settings", str(ROOT / "tidemill.yaml"), "run", "sink"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | dict(self.environment))
        return self


def test_a_bad_deploy_stops_and_the_next_one_lands_every_row(deployment: Settings) -> None:
    store, plain = Store(deployment), sink(deployment)
    send(deployment, RESPONSES, responses(5_000))
    with BadDeploy("sink", plain.settings, plain.environment).start() as role:
        assert "schema: no field for it" in stopped(role)
    assert letters(deployment, RESPONSES) == [] and landed(store, "responses") == (0, 0)
    with plain.start() as role:
        role.until(partial(has, store, "responses", 5_000), what="every row lands")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
    assert landed(store, "responses") == (5_000, 5_000)
