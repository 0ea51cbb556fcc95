"""Alerts through a real Alertmanager: tidemill tells it, and it tells the receiver of the exported configuration."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from dashboards.prometheus import receivers
from tests.integration.role_process import ROOT, Role, environment_of
from tests.integration.store_fixture import free_port
from tests.integration.test_alerts import Hook, say, threshold
from tests.waiting import until
from tidemill.settings import Settings
from tidemill.settings.alerting import AlertSettings, WebhookSettings

__all__ = ["say"]
PROGRAM = "prometheus-alertmanager"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()


@pytest.fixture
def alertmanager(settings: Settings, hook: Hook, tmp_path: Path) -> Iterator[str]:
    """A running Alertmanager with the exported configuration; its value is the address."""
    assert shutil.which(PROGRAM), f"{PROGRAM} is not installed: python3 deploy/setup.py --alerting"
    told = AlertSettings(webhooks=(WebhookSettings(name="receiver", url=hook.url),))
    file, log, port = tmp_path / "alertmanager.yml", tmp_path / "alertmanager.log", free_port()
    file.write_text(receivers.export(settings.model_copy(update={"alerts": told}))[0])
    command = [
        *(PROGRAM, f"--config.file={file}", f"--storage.path={tmp_path / 'alertmanager'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
    ]
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{address}/-/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            until(ready, within_s=60, what="Alertmanager is ready")
            yield address
        finally:
            process.terminate()


def test_an_alarm_and_its_end_go_through_alertmanager(
    settings: Settings,
    fresh_topics: None,
    say: Callable[..., None],
    tmp_path: Path,
    unique: Callable[[str], str],
    hook: Hook,
    alertmanager: str,
) -> None:
    whole = yaml.safe_load((ROOT / "tidemill.yaml").read_text())
    api = {"name": unique("am"), "url": f"{alertmanager}/api/v2/alerts", "format": "alertmanager_api"}
    whole["alerts"] = {"webhooks": [api | {"repeat_interval_s": 60}]}
    file = tmp_path / "tidemill.yaml"
    file.write_text(yaml.safe_dump(whole))

    def heard() -> list[str]:
        found = httpx.get(hook.url.replace("/webhook", "/alerts"), trust_env=False).json()
        return [alert["status"] for alert in found if alert["labels"]["pipeline"] == "schedule"]

    with Role("alerts", settings, environment_of(settings), file) as alerts:
        alerts.start()
        say(threshold(unique("event")))
        alerts.until(lambda: heard() == ["firing"], within_s=90, what="Alertmanager tells of the alarm")
        (known,) = httpx.get(f"{alertmanager}/api/v2/alerts", trust_env=False).json()
        assert known["labels"]["alertname"] == "quality" and known["annotations"]["alarm_id"] == "alarm"
        say(threshold(unique("event"), "resolved"))
        alerts.until(lambda: heard() == ["firing", "resolved"], within_s=90, what="and of its end")
        assert alerts.stop() == 0
