"""Reports do not stay for ever: they hold calls of users."""

from __future__ import annotations

import os
from pathlib import Path

from consumers.evidence.main import DAY_S, clear
from tidemill.evidence import FOLDER
from tidemill.settings import Settings
from tidemill.settings.monitoring import EvidenceSettings

NOW_S = 1_800_000_000.0


def test_reports_older_than_is_kept_are_removed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, evidence=EvidenceSettings(keep_days=2))
    assert clear(settings, NOW_S) == 0, "there is no folder yet"
    folder = tmp_path / FOLDER
    (folder / "sub").mkdir(parents=True)
    for name, days in (("old.html", 2.1), ("old.json", 3), ("new.html", 1.9), ("ahead.html", -1)):
        (folder / name).write_text("x")
        os.utime(folder / name, (NOW_S - days * DAY_S,) * 2)
    assert clear(settings, NOW_S) == 2 and clear(settings, NOW_S) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["ahead.html", "new.html", "sub"]


def test_a_clock_that_is_ahead_removes_no_more_than_the_newest_report_allows(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, evidence=EvidenceSettings(keep_days=2))
    folder = tmp_path / FOLDER
    folder.mkdir()
    for name, days in (("old.html", 2.5), ("before.html", 1.9), ("newest.html", 0.0)):
        (folder / name).write_text("x")
        os.utime(folder / name, (NOW_S - days * DAY_S,) * 2)
    assert clear(settings, NOW_S + 3_650 * DAY_S) == 1
    assert sorted(file.name for file in folder.iterdir()) == ["before.html", "newest.html"]
