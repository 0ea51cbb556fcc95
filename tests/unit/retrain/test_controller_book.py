"""The fold of the logs: what is open, what is undecided, who is busy, when something ended last."""

from __future__ import annotations

from msgspec.structs import replace

from retrain.controller.book import Book
from retrain.policy import job_id_of
from tests.unit.retrain.made import NOW, alarm, collecting
from tidemill.events import Arm, RolloutState, Route, Verdict
from tidemill.ids import derived_id


def rollout(phase: str, seq: int = 0, job_id: str = "job-1", time_ms: int = NOW) -> RolloutState:
    return RolloutState(
        rollout_id=derived_id("rollout", job_id),
        seq=seq,
        time_ms=time_ms,
        pipeline="schedule",
        phase=phase,  # type: ignore[arg-type]
        reason="",
        job_id=job_id,
        candidate_version="schedule-v2",
        candidate_adapter_dir="/adapters/schedule-v2",
        champion_version="schedule-v1",
        step_started_ms=time_ms,
        created_ms=NOW,
    )


def test_the_highest_sequence_number_holds() -> None:
    book = Book()
    for seq in (0, 2, 1):
        book.note_job(collecting(seq=seq, phase="collecting" if seq < 2 else "training"))
    assert book.jobs["job-1"].phase == "training"


def test_an_alarm_is_undecided_until_its_job_is_known() -> None:
    book = Book()
    book.note_threshold(alarm())
    book.note_threshold(alarm("latency", alarm_id="other"))
    assert [e.data.alarm_id for e in book.undecided(NOW)] == ["alarm-1"]
    book.note_job(collecting(job_id=job_id_of("alarm-1")))
    assert list(book.undecided(NOW)) == []


def test_a_job_declined_for_a_while_is_undecided_again_then() -> None:
    book = Book()
    book.note_threshold(alarm())
    book.note_job(collecting(job_id=job_id_of("alarm-1"), phase="declined", deadline_ms=NOW + 5))
    assert not list(book.undecided(NOW + 4))
    assert list(book.undecided(NOW + 5))
    book.note_job(collecting(job_id=job_id_of("alarm-1"), seq=1, phase="declined", deadline_ms=None))
    assert not list(book.undecided(NOW + 10**9))


def test_a_pipeline_is_busy_from_job_to_the_end_of_its_rollout() -> None:
    book = Book()
    assert book.busy("schedule") == ""
    book.note_job(collecting())
    assert "collecting" in book.busy("schedule")
    assert book.busy("support") == ""
    book.note_job(collecting(seq=1, phase="registered", candidate_version="schedule-v2"))
    assert book.busy("schedule") == "the rollout of schedule-v2"
    book.note_rollout(rollout("canary"))
    assert book.busy("schedule") == "the rollout of schedule-v2"
    book.note_rollout(rollout("champion", seq=1, time_ms=NOW + 77))
    assert book.busy("schedule") == ""
    assert book.last_end_ms("schedule") == NOW + 77
    assert book.last_end_ms("support") is None


def test_a_rejected_job_ends_something_and_a_declined_one_does_not() -> None:
    book = Book()
    book.note_job(collecting(phase="declined"))
    assert book.last_end_ms("schedule") is None
    book.note_job(collecting(job_id="job-2", phase="rejected", time_ms=NOW + 5))
    assert book.last_end_ms("schedule") == NOW + 5
    assert book.last_promotion_ms("schedule") is None
    book.note_rollout(rollout("champion", time_ms=NOW + 3))
    assert book.last_promotion_ms("schedule") == NOW + 3


def test_resolved_alarms_and_champions() -> None:
    book = Book()
    book.note_threshold(alarm())
    book.note_threshold(alarm(state="resolved"))
    arm = Arm(variant="champion", model_version="schedule-v3", model="schedule-v3", engine="local", weight=75)
    book.note_route(Route(pipeline="schedule", epoch=1, time_ms=NOW, arms=(replace(arm, variant="canary"), arm)))
    assert (book.resolved, book.champions) == ({"alarm-1"}, {"schedule": "schedule-v3"})


def test_a_rollback_by_evidence_is_in_vain_and_one_by_order_is_not() -> None:
    for check, in_vain in (("canary-25", True), ("order", False)):
        book = Book()
        job = collecting(phase="registered", candidate_version="schedule-v2")
        book.note_job(job)
        assert not book.in_vain(job)
        verdict = Verdict(check=check, outcome="fail")
        book.note_rollout(replace(rollout("rolled_back"), verdicts=(verdict,)))
        assert book.in_vain(job) is in_vain
