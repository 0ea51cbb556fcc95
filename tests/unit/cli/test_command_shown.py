"""What people are told to call is what they can call."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tidemill.cli import context


def test_a_command_beside_the_path_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / ".venv" / "bin" / "tidemill"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    for called in (".venv/bin/tidemill", str(script)):
        monkeypatch.setattr(sys, "argv", [called, "up"])
        assert context.command() == ".venv/bin/tidemill"
    monkeypatch.chdir("/usr")
    assert context.command() == str(script)
    monkeypatch.setenv("PATH", str(script.parent))
    assert context.command() == "tidemill"


def test_a_module_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/tidemill/cli/main.py", "up"])
    monkeypatch.setattr(sys, "executable", "/opt/python")
    assert context.command() == "/opt/python -m tidemill.cli.main"
