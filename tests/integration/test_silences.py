"""Silences by command over a real broker and a running role: held back, told once after the expiry, over restarts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.role_process import ROOT, environment_of
from tests.integration.test_alerts import Hook, metrics, role, say, threshold
from tidemill.io.kafka import producer
from tidemill.io.silences import read
from tidemill.settings import Settings
from tidemill.topics import SILENCES

__all__ = ["say"]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(settings: Settings, kafka: str) -> Command:
    """Runs ``tidemill silence`` and gives back how it ended."""
    environment = os.environ | environment_of(settings) | {"TIDEMILL_KAFKA__BOOTSTRAP": kafka}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tidemill.cli.main", "--settings", str(ROOT / "tidemill.yaml"), "silence", *words]
        return subprocess.run(line, check=False, capture_output=True, text=True, env=environment, timeout=60)

    return run


def test_an_alarm_is_held_back_by_a_command_and_told_once_when_the_silence_is_expired(
    settings: Settings,
    fresh_topics: None,
    say: Callable[..., None],
    command: Command,
    tmp_path: Path,
    unique: Callable[[str], str],
) -> None:
    hook = Hook()
    muted, *loud = (unique("event") for _ in range(4))
    with role(settings, tmp_path, {unique("hook"): hook.url}) as alerts:
        alerts.start().ready()
        added = command(
            "add", "--pipeline", "schedule", "--alert", "latency", "--for", "2h", "--comment", "ticket 4711"
        )
        assert added.returncode == 0, added.stderr
        name = added.stdout.strip()
        alerts.until(lambda: "tidemill_alerts_silences 1.0" in metrics(alerts), within_s=10, what="it holds")

        say(threshold(muted, rule="latency", alarm_id=muted), threshold(loud[0], alarm_id=loud[0]))
        alerts.until(lambda: hook.ids() == loud[:1], within_s=60, what="what no silence is about")
        alerts.until(lambda: re.search(r"held_back\{.*\} 1\.0", metrics(alerts)), what="it is held back")

        alerts.kill()
        say(threshold(loud[1], alarm_id=loud[1]))
        alerts.start()
        alerts.until(lambda: hook.ids() == loud[:2], within_s=60, what="what came meanwhile")
        alerts.until(lambda: re.search(r"held_back\{.*\} 1\.0", metrics(alerts)), what="it is still held back")

        assert command("expire", name[:5]).returncode == 0
        alerts.until(lambda: hook.ids() == [*loud[:2], muted], within_s=10, what="it is told")
        assert alerts.stop() == 0
        say(threshold(loud[2], alarm_id=loud[2]))
        alerts.start()
        alerts.until(lambda: hook.ids() == [*loud[:2], muted, loud[2]], within_s=60, what="nothing is told again")
    assert hook.deliveries() == 4
    hook.server.shutdown()


def test_a_silence_that_is_expired_while_the_role_is_down_loses_nothing(
    settings: Settings,
    fresh_topics: None,
    say: Callable[..., None],
    command: Command,
    tmp_path: Path,
    unique: Callable[[str], str],
) -> None:
    hook = Hook()
    muted, over = unique("event"), unique("event")
    name = command("add", "--match", "alertname=lat.*", "--comment", "works", "--by", "ada").stdout.strip()
    with role(settings, tmp_path, {unique("hook"): hook.url}) as alerts:
        alerts.start().ready()
        alerts.until(lambda: "tidemill_alerts_silences 1.0" in metrics(alerts), what="it holds")
        say(*(threshold(each, rule="latency", alarm_id=each) for each in (muted, over)))
        say(threshold(unique("end"), "resolved", rule="latency", alarm_id=over))
        alerts.until(lambda: re.search(r"held_back\{.*\} 1\.0", metrics(alerts)), within_s=60, what="one is held back")
        alerts.kill()
        assert command("expire", name).returncode == 0
        alerts.start()
        alerts.until(lambda: hook.ids() == [muted], within_s=60, what="what still fires is told")
        alerts.until(lambda: "tidemill_alerts_silences 0.0" in metrics(alerts), what="no silence holds")
    assert hook.deliveries() == 1
    hook.server.shutdown()


def test_the_command_lists_refuses_and_leaves_alone_what_is_no_silence(
    settings: Settings, fresh_topics: None, command: Command
) -> None:
    writer = producer(settings, "test-silences")
    for key, value in ((b"x", b"{"), (b"y", b"\xff"), (b"z", b'{"silence_id": "z"}')):
        writer.produce(SILENCES.name, value, key)
    writer.flush(10)

    assert "no silences" in command("list").stdout
    first = command("add", "--alert", "quality", "--comment", "one", "--by", "ada").stdout.strip()
    command("add", "--match", "pipeline=.*", "--comment", "two", "--by", "ada", "--start", "2090-01-01")
    rows: list[dict[str, Any]] = json.loads(command("list", "--json").stdout)["silences"]
    assert [(row["comment"], row["by"]) for row in rows] == [("one", "ada"), ("two", "ada")]
    assert rows[1]["state"] == "pending"
    assert "alertname=quality" in command("list").stdout
    assert command("expire", first).returncode == 0
    assert "has ended already" in command("expire", first).stderr
    assert "there is no silence" in command("expire", "nope").stderr
    assert len(read(settings, SILENCES, "test")) == 2
