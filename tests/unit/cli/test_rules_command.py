"""``tidemill rules test``: the how-to's example holds; a test that does not says why and ends with 1."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.errors import SettingsError

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
EXAMPLE = HOW_TO / "service-levels.test.yaml"


def test_the_example_of_the_how_to_holds() -> None:
    done = CliRunner().invoke(app, ["rules", "test", str(EXAMPLE), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["holds"], found["failed"]) == (True, 0)
    assert found["passed"] == len(found["tests"]) == EXAMPLE.read_text().count("- name:")
    assert all(each["said"] for each in found["tests"])


def test_the_how_to_shows_the_files_it_speaks_of() -> None:
    page = (HOW_TO / "service-levels.md").read_text()
    assert (HOW_TO / "service-levels.yaml").read_text() in page
    blocks = re.findall(r"```yml\n(.*?)```", page, flags=re.DOTALL)
    assert blocks
    assert all(block in EXAMPLE.read_text() for block in blocks)


def test_a_test_that_does_not_hold_is_shown_with_what_was_said_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "service-levels.yaml").write_text((HOW_TO / "service-levels.yaml").read_text())
    file = tmp_path / "changed.test.yaml"
    file.write_text(EXAMPLE.read_text().replace("{at: 1m30s, firing: [errors]}", "{at: 1m30s, firing: [slow]}"))
    done = CliRunner().invoke(app, ["rules", "test", str(EXAMPLE), str(file)])
    assert done.exit_code == 1
    lines = [line.strip() for line in done.output.splitlines()]
    at = lines.index("at 1m30s:")
    assert lines[at + 1 : at + 3] == ["- slow expected, does not fire", "+ errors fires, not expected"]
    assert "1m30s firing support: error_rate is 0.40, above 0.20 since 00:01:00 UTC (before: 0.01)" in lines
    assert lines[-1] == "7 passed, 1 failed"
    as_json = json.loads(CliRunner().invoke(app, ["rules", "test", str(file), "--json"]).output)
    assert (as_json["holds"], as_json["passed"], as_json["failed"]) == (False, 3, 1)
    assert as_json["tests"][0]["differences"] == [{"at_s": 90, "missing": ["slow"], "unexpected": ["errors"]}]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: no such file"):
        CliRunner().invoke(app, ["rules", "test", str(tmp_path / "none.yaml")], catch_exceptions=False)
