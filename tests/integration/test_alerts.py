"""Alerts over a real broker: nothing lost over failures and kills, a dead receiver holds up nobody else."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml

from consumers.alerts.receiver import serve
from tests.integration.role_process import ROOT, Role, environment_of
from tests.unit.consumers_alerts.test_alert_addresses import Receiver
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.events import ThresholdData, ThresholdEvent
from tidemill.io.kafka import producer
from tidemill.settings import Settings
from tidemill.topics import THRESHOLDS


class Hook:
    """A running demo receiver."""

    def __init__(self, fail_first: int = 0) -> None:
        self.server: ThreadingHTTPServer = serve(0, fail_first=fail_first, quiet=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"

    def ids(self) -> list[str]:
        found = httpx.get(f"http://127.0.0.1:{self.server.server_port}/alerts", trust_env=False).json()
        return [alert["webhook_id"] for alert in found]

    def deliveries(self) -> int:
        found = httpx.get(f"http://127.0.0.1:{self.server.server_port}/alerts", trust_env=False).json()
        return sum(alert["deliveries"] for alert in found)


def threshold(name: str, state: str = "firing", **more: Any) -> ThresholdEvent:
    now = SystemClock().now_ms()
    data = ThresholdData(
        state=state,  # type: ignore[arg-type]
        rule="quality",
        kind="quality",
        severity="page",
        pipeline="schedule",
        metric="quality",
        value=0.3,
        window_start_ms=now,
        window_end_ms=now,
        alarm_id="alarm",
        started_ms=now,
    )
    data = msgspec.structs.replace(data, **more)
    kind = "breached" if state == "firing" else "resolved"
    return ThresholdEvent(
        id=name,
        source="test",
        type=f"tidemill.threshold.{kind}",  # type: ignore[arg-type]
        subject="schedule//quality",
        time="now",
        time_ms=now,
        data=data,
    )


@pytest.fixture
def say(settings: Settings, kafka: str) -> Callable[..., None]:
    writer = producer(settings, "test-alerts")

    def write(*events: ThresholdEvent) -> None:
        for event in events:
            writer.produce(THRESHOLDS.name, encode(event), b"schedule")
        writer.flush(10)

    return write


def role(settings: Settings, tmp_path: Path, hooks: dict[str, str], more: Any = None, **alerts: Any) -> Role:
    """The alerts role with these webhooks, and ``more`` settings of each."""
    file = tmp_path / "tidemill.yaml"
    whole = yaml.safe_load((ROOT / "tidemill.yaml").read_text())
    whole["alerts"] = {
        "webhooks": [{"name": name, "url": url, **(more or {})} for name, url in hooks.items()],
        "timeout_s": 2,
        **alerts,
    }
    file.write_text(yaml.safe_dump(whole))
    return Role("alerts", settings, environment_of(settings), file)


def test_each_event_arrives_in_order_over_failures_and_a_kill(
    settings: Settings, fresh_topics: None, say: Callable[..., None], tmp_path: Path, unique: Callable[[str], str]
) -> None:
    hook = Hook(fail_first=2)
    names = [unique("event") for _ in range(6)]
    with role(settings, tmp_path, {unique("hook"): hook.url}) as alerts:
        alerts.start()
        say(*(threshold(name) for name in names[:2]))
        until(lambda: hook.ids() == names[:2], within_s=90, what="the first two, after two refusals")
        alerts.kill()
        say(*(threshold(name) for name in names[2:4]))
        alerts.start()
        until(lambda: hook.ids() == names[:4], within_s=90, what="what came while it was down")
        say(threshold(names[4]), threshold(names[5], "resolved"))
        until(lambda: hook.ids() == names, within_s=90, what="firing and resolved")
        assert alerts.stop() == 0
    assert hook.deliveries() <= len(names) + 1, "at most the one in hand when killed was sent again"
    hook.server.shutdown()


def test_dead_receiver_is_visible_and_holds_up_nobody_else(
    settings: Settings, fresh_topics: None, say: Callable[..., None], tmp_path: Path, unique: Callable[[str], str]
) -> None:
    alive = Hook()
    names = [unique("event") for _ in range(3)]
    hooks = {unique("dead"): "http://127.0.0.1:9/webhook", unique("alive"): alive.url}
    with role(settings, tmp_path, hooks) as alerts:
        alerts.start()
        say(*(threshold(name) for name in names))
        until(lambda: alive.ids() == names, within_s=90, what="the living receiver has all")
        until(lambda: "answers nothing" in alerts.readiness(), what="the dead receiver is visible")
    alive.server.shutdown()


def test_a_restart_tells_nothing_again_though_a_silence_holds_an_alarm_back(
    settings: Settings, fresh_topics: None, say: Callable[..., None], tmp_path: Path, unique: Callable[[str], str]
) -> None:
    hook, now = Hook(), SystemClock().now_ms()
    start, end = (datetime.fromtimestamp(now / 1000 + 3600 * hours, UTC).isoformat() for hours in (-1, 1))
    silences = [{"name": "works", "match": {"alertname": "late.*"}, "start": start, "end": end}]
    muted, *names = (unique("event") for _ in range(4))
    with role(settings, tmp_path, {unique("hook"): hook.url}, silences=silences) as alerts:
        alerts.start()
        say(threshold(muted, rule="latency", alarm_id=muted), *(threshold(name, alarm_id=name) for name in names[:2]))
        alerts.until(lambda: hook.ids() == names[:2], within_s=90, what="what no silence is about")
        alerts.until(lambda: "tidemill_alerts_held_back{" in metrics(alerts), what="the figure")
        assert alerts.stop() == 0
        alerts.start()
        say(threshold(names[2], alarm_id=names[2]))
        alerts.until(lambda: hook.ids() == names, within_s=90, what="what came meanwhile")
        alerts.until(lambda: re.search(r"held_back\{.*\} 1\.0", metrics(alerts)), what="it is still held back")
    assert hook.deliveries() == 3
    hook.server.shutdown()


def test_a_receiver_that_is_gone_stays_retired_over_a_restart(
    settings: Settings, fresh_topics: None, say: Callable[..., None], tmp_path: Path, unique: Callable[[str], str]
) -> None:
    receiver = Receiver()
    receiver.answer = (410, {})
    with role(settings, tmp_path, {unique("gone"): f"http://127.0.0.1:{receiver.server_port}/x"}) as alerts:
        alerts.start()
        say(threshold(unique("event")))
        alerts.until(lambda: "is retired" in alerts.readiness(), within_s=90, what="it is visible")
        alerts.kill()
        alerts.start()
        say(threshold(unique("event")))
        alerts.until(lambda: "is retired" in alerts.readiness(), within_s=90, what="it is known")
    assert len(receiver.ids) == 1
    receiver.shutdown()


def test_a_group_is_one_delivery_under_one_id_over_a_kill(
    settings: Settings, fresh_topics: None, say: Callable[..., None], tmp_path: Path, unique: Callable[[str], str]
) -> None:
    receiver = Receiver()
    receiver.answer = (503, {})
    names = [unique("event") for _ in range(3)]
    grouped = {"group_by": ["pipeline"], "group_wait_s": 2, "group_interval_s": 2}
    with role(settings, tmp_path, {unique("group"): f"http://127.0.0.1:{receiver.server_port}/x"}, grouped) as alerts:
        alerts.start()
        say(*(threshold(name, alarm_id=name) for name in names))
        alerts.until(lambda: receiver.ids, within_s=90, what="the group was tried")
        alerts.kill()
        receiver.answer = (200, {})
        tried = len(receiver.ids)
        alerts.start()
        alerts.until(lambda: len(receiver.ids) > tried, within_s=90, what="the group arrives")
        alerts.until(lambda: alerts.readiness() == "ready", what="nothing is left")
    assert len(set(receiver.ids)) == 1
    arrived = [json.loads(body) for body in receiver.bodies if body]  # the kill may cut the first one off
    told = [[alert["annotations"]["event_id"] for alert in body["alerts"]] for body in arrived]
    assert all(events == names for events in told)
    receiver.shutdown()


def metrics(running: Role) -> str:
    return httpx.get(f"http://127.0.0.1:{running.settings.port('alerts')}/metrics", trust_env=False).text
