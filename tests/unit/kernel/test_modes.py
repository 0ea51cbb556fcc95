"""What is written is its owner's alone, but for what engines load."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrain.work import load_settings, save_settings
from tidemill.cli import main, run
from tidemill.io.modes import keep_private, let_engines_read, let_engines_through, write_private
from tidemill.local import launch
from tidemill.settings import Settings
from tidemill.settings.alerting import AlertSettings, WebhookSettings
from tidemill.settings.model import KafkaSettings


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A careless one to start from; the tests' own comes back."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def umask_now() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.parametrize("module", [main, run])
def test_every_entry_point_keeps_what_it_writes_private(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tidemill"])
    with pytest.raises(SystemExit):
        module.main()  # type: ignore[attr-defined]
    assert umask_now() == 0o077


def test_a_launched_program_keeps_what_it_writes_private(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), "0", "/bin/sh", "-c", "umask"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "0077"


def test_engines_read_a_model_and_nothing_beside_it(tmp_path: Path) -> None:
    keep_private()
    job, adapter = tmp_path / "job", tmp_path / "job" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "weights").write_text("w")
    (job / "train.jsonl").write_text("said in confidence")
    let_engines_read(adapter)
    let_engines_through(job)
    assert (mode(job), mode(adapter), mode(adapter / "weights"), mode(job / "train.jsonl")) == (
        0o711,
        0o755,
        0o644,
        0o600,
    )


def test_a_private_file_is_private_whatever_was_there(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("old")
    write_private(file, "new")
    assert (file.read_text(), mode(file)) == ("new", 0o600)


def test_a_jobs_frozen_settings_are_private_and_hold_no_passwords(tmp_path: Path) -> None:
    settings = Settings(
        kafka=KafkaSettings(bootstrap="broker:9092", options={"sasl.password": "hush"}),
        alerts=AlertSettings(webhooks=(WebhookSettings(name="chat", url="https://chat.example/hooks/hush"),)),
    )
    file = save_settings(settings, tmp_path)
    assert "hush" not in file.read_text() and mode(file) == 0o600
    assert load_settings(str(file)).kafka.bootstrap == "broker:9092"
