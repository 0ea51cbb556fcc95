"""`tidemill retrain`: what a job did, its end by order, and a person's word on its candidate."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from retrain import cancel, places
from tests.unit.retrain.made import NOW, collecting
from tidemill.cli import context
from tidemill.cli import retrain as command
from tidemill.errors import Stop
from tidemill.io import rulings
from tidemill.settings import Settings

OPEN = collecting(job_id="aa" * 16, created_ms=NOW)
WAITS = collecting(job_id="ab" * 16, phase="approving", created_ms=NOW + 1, reason="every check passed")
OVER = collecting(
    job_id="cd" * 16, phase="rejected", seq=5, created_ms=NOW + 2, reason="too few", figures={"gpu_seconds": 7.4}
)
DECLINED = collecting(job_id="ef" * 16, phase="declined", created_ms=NOW + 3)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = Settings(data_dir=tmp_path)
    older = msgspec.structs.replace(OVER, phase="training", seq=OVER.seq - 1)
    monkeypatch.setattr(context, "settings", lambda: made)
    monkeypatch.setattr(context, "needs_stack", lambda settings, so="": None)
    monkeypatch.setattr(command, "content", lambda settings, topic: iter([OVER, older, OPEN, WAITS, DECLINED]))
    return made


def shown(capsys: pytest.CaptureFixture[str], *, declined: bool = False) -> list[str]:
    command.list_(declined=declined, as_json=True)
    return [job["job_id"][:2] for job in json.loads(capsys.readouterr().out)["jobs"]]


def test_jobs_are_listed_newest_first_and_decisions_against_one_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["cd", "ab", "aa"]
    assert shown(capsys, declined=True) == ["ef", "cd", "ab", "aa"]
    command.list_()
    table = capsys.readouterr().out
    assert "rejected" in table and " 7 " in table and "too few" in table


def test_a_cancellation_is_left_for_the_role(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    command.cancel("aa", reason=" wrong labels ")
    ((_, left),) = cancel.waiting(settings)
    assert left == cancel.Cancel(job_id=OPEN.job_id, reason="wrong labels")
    assert "cancellation of job aaaaaaaa ordered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("job", "reason", "words"),
    [
        ("cd", "why", "is over already: rejected, too few"),
        ("aa", " ", "needs a reason"),
        ("zz", "why", "no job"),
        ("a", "why", "several|2 jobs"),
    ],
)
def test_what_cannot_be_cancelled_is_said(settings: Settings, job: str, reason: str, words: str) -> None:
    with pytest.raises(Stop, match=words):
        command.cancel(job, reason=reason)
    assert cancel.waiting(settings) == []


@pytest.mark.parametrize("approved", [True, False])
def test_a_word_on_a_candidate_is_left_once(settings: Settings, approved: bool) -> None:
    def say() -> None:
        command.approve("ab", by="ada") if approved else command.reject("ab", reason="not now", by="ada")

    say()
    ((_, ruling),) = rulings.waiting(settings)
    assert ruling is not None and (ruling.job_id, ruling.approved, ruling.by) == (WAITS.job_id, approved, "ada")
    with pytest.raises(Stop, match="has been decided already"):
        say()
    with pytest.raises(Stop, match="does not wait for approval: collecting"):
        command.approve("aa")


def test_logs_are_those_of_each_work(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    folder = places.jobs_dir(settings) / OPEN.job_id / "train"
    with pytest.raises(Stop, match="no job"):
        command.logs("aa")
    folder.mkdir(parents=True)
    with pytest.raises(Stop, match="has not started anything yet"):
        command.logs("aa")
    (folder / "log.txt").write_text("one\ntwo\nthree\n")
    command.logs("aa", lines=2)
    assert capsys.readouterr().out == "== train: 0 tries\ntwo\nthree\n"
    with pytest.raises(Stop, match="choose snapshot, train, evaluate, parity or register"):
        command.logs("aa", work="tuning")
