"""The controller's hands: what one job cannot do holds up no other."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import cast

import msgspec

from retrain.controller.book import Book
from retrain.controller.driver import Driver
from retrain.controller.labels import LabelCounter
from retrain.controller.ledger import Ledger
from retrain.launcher import Launcher, Work, WorkSeen
from tests.unit.retrain.made import NOW, collecting, pipeline
from tidemill.clock import ManualClock
from tidemill.events import JobProgress, JobState
from tidemill.settings import Settings


class Paper:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.states: list[JobState] = []

    def record(self, states: list[JobState]) -> None:
        self.states += states

    def tell(self, progress: JobProgress) -> None:
        pass


class FullDisk:
    """A launcher that cannot write into one job's folder."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.started: list[str] = []

    def look(self, folder: Path, result: Path) -> WorkSeen:
        return WorkSeen(state="absent")

    def start(self, work: Work, now_ms: int) -> int:
        if self.job_id in str(work.folder):
            raise OSError(errno.ENOSPC, "No space left on device")
        self.started.append(work.name)
        return 1


def test_a_job_whose_folder_cannot_be_written_holds_up_no_other(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "data_dir": str(tmp_path),
            "engines": {"local": {}},
            "pipelines": {name: pipeline().model_dump() | {"champion": f"{name}-v1"} for name in ("first", "second")},
        }
    )
    snapshot = msgspec.structs.replace(collecting(), phase="snapshot", figures={"since_ms": 1, "until_ms": 2})
    jobs = [msgspec.structs.replace(snapshot, job_id=name, pipeline=name) for name in ("first", "second")]
    book, launcher = Book({job.job_id: job for job in jobs}), FullDisk("first")
    driver = Driver(
        settings,
        ManualClock(NOW),
        book,
        cast(Ledger, Paper()),
        cast(Launcher, launcher),
        cast(LabelCounter, None),
    )
    driver.tick()
    assert launcher.started == ["snapshot"]
    assert driver.waiting_for == "the folder of job first: [Errno 28] No space left on device"
