"""The demo's options are checked before anything starts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tidemill.cli import context
from tidemill.cli.demo import demo, kills_of
from tidemill.cli.up import up
from tidemill.errors import Stop
from tidemill.local.demo import place
from tidemill.local.demo.kills import MOMENTS
from tidemill.local.ports import free_port_base
from tidemill.settings.model import PORTS


def test_an_unknown_role_to_kill_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Stop, match=f"--kill 'nonsense': choose from {', '.join(MOMENTS)}"):
        demo(kill="gateway, nonsense")


def test_roles_to_kill_are_told_apart_by_commas() -> None:
    assert kills_of("") == ()
    assert kills_of("gateway, sink,") == ("gateway", "sink")


def test_a_folder_of_texts_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="is a folder, not a CSV file"):
        demo(texts=tmp_path)
    with pytest.raises(Stop, match="no such file"):
        demo(texts=tmp_path / "none.csv")


def test_a_scenario_with_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="--scenario bad-labels has no version with --texts"):
        demo(scenario="bad-labels", texts=tmp_path / "any.csv")


def test_settings_without_the_pipelines_of_its_users_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((Path(__file__).parents[3] / "tidemill.yaml").read_text().replace("support", "tickets"))
    monkeypatch.setattr(context, "_file", file)
    with pytest.raises(Stop, match="call schedule and support, and the settings have no pipeline 'support'"):
        demo()


def test_settings_without_pipelines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("deployment: d\n")
    monkeypatch.setattr(context, "_file", file)
    for command in (demo, up):
        with pytest.raises(Stop, match=r"s\.yaml: no pipelines; see docs/reference/settings\.md"):
            command()


def test_a_taken_port_is_named_before_any_model_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(place, "prepare", lambda *arguments: made.append(arguments))
    monkeypatch.setenv("TIDEMILL_ENGINE_PYTHON", sys.executable)
    monkeypatch.setenv("TIDEMILL_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(context, "_file", Path(__file__).parents[3] / "tidemill.yaml")
    base = free_port_base()
    monkeypatch.setenv("TIDEMILL_LOCAL__PORT_BASE", str(base))
    with socket.socket() as other:
        other.bind(("127.0.0.1", base + PORTS["engine"]))
        other.listen(1)
        with pytest.raises(Stop, match=f"port {base + PORTS['engine']}, which engine needs, is taken"):
            up(only="engine")
    assert made == []
