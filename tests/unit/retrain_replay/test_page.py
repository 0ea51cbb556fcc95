"""The how-to's examples are read by what reads the user's files, and its columns are the command's."""

from __future__ import annotations

import re
from pathlib import Path

from retrain.replay.policies import GROUPS, read_policy
from tests.unit.retrain_replay.made import policy
from tidemill.cli.policy import COLUMNS, read_truth

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "policy-replay.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_policies_shown_can_be_read(tmp_path: Path) -> None:
    shown = blocks("policy")
    assert len(shown) == 2
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert read_policy(file).over(policy()) != policy()


def test_the_falls_shown_can_be_read(tmp_path: Path) -> None:
    (text,) = blocks("truth")
    file = tmp_path / "truth.yaml"
    file.write_text(text)
    ((first, second),) = read_truth(file, 0).values()
    assert first.end_ms is not None and second.end_ms is None


def test_every_setting_and_every_column_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {name for names in GROUPS.values() for name in names} <= named
    table = PAGE[PAGE.index("| column | meaning |") : PAGE.index("How long a training")]
    said = [name for row in re.findall(r"^\| ([^|]+) \|", table, flags=re.MULTILINE)[1:] for name in row.split(", ")]
    assert said == list(COLUMNS[1:])
