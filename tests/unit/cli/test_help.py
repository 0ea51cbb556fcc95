"""Help says where to start, and names what can be chosen."""

from __future__ import annotations

from importlib import metadata

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import PANELS, app
from tidemill.local.demo.kills import MOMENTS
from tidemill.local.demo.scenario import SCENARIOS
from tidemill.local.plan import PARTS
from tidemill.roles import ROLES


def shown(monkeypatch: pytest.MonkeyPatch, *command: str) -> str:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 400)  # typer reads its own variable once a process
    return CliRunner().invoke(app, [*command, "--help"]).output


def test_the_commands_stand_in_panels_with_the_one_to_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(monkeypatch)
    places = [output.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    assert "─ Commands ─" not in output
    assert all(f"│ {name} " in output for commands in PANELS.values() for name in commands)
    assert "Start with: tidemill up" in output


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("up", ", ".join(PARTS)),
        ("demo", ", ".join(MOMENTS)),
        *(("demo", f"{each.name}: {each.gist}") for each in SCENARIOS.values()),
        *(("run", f"{role}: {does}") for role, (_, does) in ROLES.items()),
    ],
)
def test_what_can_be_chosen_is_listed(command: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words in shown(monkeypatch, command)


def test_the_version_is_the_packages() -> None:
    ended = CliRunner().invoke(app, ["--version"])
    assert (ended.exit_code, ended.output) == (0, f"tidemill {metadata.version('tidemill')}\n")
