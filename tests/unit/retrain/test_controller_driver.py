"""The controller's hands: what one job cannot do holds up no other, and what failed is tried again."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from retrain import cancel, orders
from retrain.controller.book import Book
from retrain.controller.driver import Driver
from retrain.controller.labels import LabelCounter
from retrain.controller.ledger import Ledger
from retrain.launchers.launcher import Launcher, Work, WorkSeen
from retrain.policy import job_id_of
from tests.unit.retrain.made import NOW, alarm, collecting, pipeline
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.events import JobProgress, JobState, RetrainDecision, ThresholdEvent
from tidemill.io import rulings
from tidemill.settings import Settings


class Paper:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.states: list[JobState] = []
        self.said: list[RetrainDecision] = []

    def record(
        self, states: list[JobState], decisions: list[RetrainDecision], events: Sequence[ThresholdEvent] = ()
    ) -> None:
        self.states += states
        self.said += decisions

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


class CountsNothing:
    """A label counter whose store never answers."""

    problem = ""

    def counted(self, name: str, since_ms: int) -> None:
        return None


def settings_of(tmp_path: Path, *names: str) -> Settings:
    pipelines = {name: pipeline().model_dump() | {"champion": f"{name}-v1"} for name in names}
    return Settings.model_validate({"data_dir": str(tmp_path), "engines": {"local": {}}, "pipelines": pipelines})


def driver_of(settings: Settings, clock: ManualClock, book: Book, launcher: FullDisk, paper: Paper) -> Driver:
    return Driver(
        settings, clock, book, cast(Ledger, paper), cast(Launcher, launcher), cast(LabelCounter, CountsNothing())
    )


def test_a_job_whose_folder_cannot_be_written_holds_up_no_other(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "first", "second")
    snapshot = msgspec.structs.replace(collecting(), phase="snapshot", figures={"since_ms": 1, "until_ms": 2})
    jobs = [msgspec.structs.replace(snapshot, job_id=name, pipeline=name) for name in ("first", "second")]
    book, launcher = Book({job.job_id: job for job in jobs}), FullDisk("first")
    driver = driver_of(settings, ManualClock(NOW), book, launcher, Paper())
    driver.tick()
    assert launcher.started == ["snapshot"]
    assert driver.waiting_for == "the folder of job first: [Errno 28] No space left on device"


def test_an_alarm_that_still_fires_after_a_job_in_vain_causes_another_a_cool_down_later(tmp_path: Path) -> None:
    clock, book, paper = ManualClock(NOW), Book(), Paper()
    driver = driver_of(settings_of(tmp_path, "schedule"), clock, book, FullDisk(""), paper)
    book.note_threshold(alarm())
    driver.tick()
    for attempt in range(3):
        job = paper.states[-1]
        assert (job.job_id, job.phase) == (job_id_of("alarm-1", attempt), "collecting")
        failed = msgspec.structs.replace(job, seq=9, phase="failed", time_ms=clock.now_ms())
        book.note_job(failed)
        driver.tick()
        clock.advance(59_000)
        driver.tick()
        assert len(paper.states) == attempt + 1, "cooling down"
        clock.advance(2_000)
        driver.tick()
    assert len(paper.states) == 3, "retrain.max_attempts"


def test_no_further_job_once_the_alarm_is_resolved_or_another_champion_serves(tmp_path: Path) -> None:
    for after in ("resolved", "promoted"):
        clock, book, paper = ManualClock(NOW), Book(), Paper()
        driver = driver_of(settings_of(tmp_path / after, "schedule"), clock, book, FullDisk(""), paper)
        book.note_threshold(alarm())
        driver.tick()
        book.note_job(msgspec.structs.replace(paper.states[-1], seq=9, phase="rejected"))
        if after == "resolved":
            book.note_threshold(alarm(state="resolved"))
        else:
            book.champions["schedule"] = "schedule-v2"
        clock.advance(61_000)
        driver.tick()
        assert len(paper.states) == 1, after


@pytest.mark.parametrize("folder", ["orders", "orders/cancel", "orders/rulings"])
def test_a_folder_of_notes_that_cannot_be_read_holds_up_nothing_else(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / folder).write_text("no folder")
    book, paper = Book(), Paper()
    book.note_threshold(alarm())
    driver = driver_of(settings_of(tmp_path, "schedule"), ManualClock(NOW), book, FullDisk(""), paper)
    driver.tick()
    assert [state.phase for state in paper.states] == ["collecting"]
    assert f"the notes in {tmp_path / folder}" in driver.waiting_for


def test_a_note_that_cannot_be_read_or_taken_is_said_once_and_the_others_are_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, paper = settings_of(tmp_path, "schedule"), Paper()
    for folder in ("orders", "orders/cancel", "orders/rulings"):
        (tmp_path / folder / "a.json").mkdir(parents=True)
    orders.place(settings, orders.Order(order_id="b", pipeline="schedule", time_ms=NOW))
    cancel.place(settings, cancel.Cancel(job_id="c", reason="wrong"))
    rulings.place(settings, rulings.Ruling(job_id="d", approved=True))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    driver = driver_of(settings, ManualClock(NOW), Book(), FullDisk(""), paper)
    for _ in range(3):
        driver.tick()
    assert [state.job_id for state in paper.states] == [job_id_of("b")], "decided on once though its note stays"
    assert "cannot be taken: Permission denied; let the role's user write to" in driver.waiting_for
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == len(set(told)) and sum("a.json cannot be read" in each for each in told) == 3
    monkeypatch.undo()
    driver.tick()
    driver.tick()
    assert (orders.waiting(settings), cancel.waiting(settings), rulings.waiting(settings)) == ([], [], [])


def test_a_word_on_a_candidate_stays_until_it_is_acted_on(tmp_path: Path) -> None:
    job = collecting(phase="approving", deadline_ms=NOW + 9, data_digest="0123456789abcdef")
    rulings.place(settings_of(tmp_path, "schedule"), rulings.Ruling(job_id=job.job_id, approved=False))
    for names, left in (("other",), 1), (("schedule",), 0):
        settings, paper = settings_of(tmp_path, *names), Paper()
        driver = driver_of(settings, ManualClock(NOW), Book({job.job_id: job}), FullDisk(""), paper)
        driver.tick()
        assert (len(rulings.waiting(settings)), len(paper.states)) == (left, 1 - left)
        assert ("pipelines has no 'schedule'" in driver.waiting_for) is bool(left)


def test_who_may_leave_no_note_is_told_the_way_out(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "schedule")
    (tmp_path / "orders").write_text("another user's")
    words = "no note can be left in .*orders.*; do it as the user whose role reads there, or let yours write"
    with pytest.raises(Stop, match=words):
        orders.place(settings, orders.Order(order_id="b", pipeline="schedule", time_ms=NOW))
    with pytest.raises(Stop, match=words):
        cancel.place(settings, cancel.Cancel(job_id="c", reason="wrong"))
    with pytest.raises(Stop, match=words):
        rulings.place(settings, rulings.Ruling(job_id="d", approved=True))
