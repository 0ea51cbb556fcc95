"""Approval: who may decide, until when, once; what becomes of the candidate and what people are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain import approval as waiting
from retrain.controller.advance import APPROVAL, Seen, Step, advance, waits_for
from retrain.gate import gate
from tests.unit.retrain import test_controller_steps as steps
from tests.unit.retrain.made import NOW, pipeline
from tidemill import approval
from tidemill.errors import Stop
from tidemill.events import JobState
from tidemill.events.lifecycle import gpu_seconds
from tidemill.io import rulings
from tidemill.io.rulings import Ruling
from tidemill.settings import Settings
from tidemill.settings.gate import ApprovalSettings
from tidemill.settings.keys import approval_key

KEY = b"sixteen bytes at least"
JOB = "ab" * 16
REQUIRED = pipeline(retrain={"approval": "required", "approval_timeout_s": 7_200})


def asked() -> JobState:
    """A job whose candidate has passed every check."""
    states = steps.play(steps.opened())
    compared = next(state for state in states if any(verdict.check == "parity" for verdict in state.verdicts))
    before = states[states.index(compared) - 1]
    made = advance(before, REQUIRED, Seen(now_ms=NOW, works={"parity": steps.done("parity")}))
    assert made.state is not None and made.start is None
    return made.state


def test_a_candidate_that_passes_waits_and_nothing_is_started() -> None:
    job = asked()
    assert (job.phase, waits_for(job), job.deadline_ms) == ("approving", APPROVAL, NOW + 7_200_000)
    assert "tidemill retrain approve" in job.reason
    assert advance(job, REQUIRED, Seen(now_ms=NOW)) == Step()
    assert waiting.status(job, REQUIRED) == "not asked"
    assert gpu_seconds(job, NOW + 86_400_000) == gpu_seconds(job, NOW), "who waits for a person has no GPU"


@pytest.mark.parametrize(
    ("seen", "passes", "status", "words"),
    [
        (Seen(now_ms=NOW, ruling=Ruling(job_id="j", approved=True, by="ada")), True, "approved", "approved by ada"),
        (Seen(now_ms=NOW, ruling=Ruling(job_id="j", approved=False, why="not now")), False, "rejected", "not now"),
        (Seen(now_ms=NOW, waited_out=True), False, "expired", "nobody approved it in time"),
    ],
)
def test_what_becomes_of_it(seen: Seen, passes: bool, status: str, words: str) -> None:
    step = advance(asked(), REQUIRED, seen)
    assert step.start == "register" and step.state is not None
    assert (step.state.phase, step.state.deadline_ms, gate.passes(step.state.verdicts)) == ("gating", None, passes)
    assert waiting.status(step.state, REQUIRED) == status
    assert words in step.state.reason
    assert waits_for(step.state) == "register"


def test_people_are_told_as_it_begins_to_wait_and_as_it_ends() -> None:
    job = asked()
    after = advance(job, REQUIRED, Seen(now_ms=NOW + 5, waited_out=True)).state
    assert after is not None
    began, ended = waiting.announcement(None, job), waiting.announcement(job, after)
    assert began is not None and ended is not None
    assert (began.data.state, began.data.alarm_id, began.data.kind) == ("firing", job.job_id, "system")
    assert (ended.data.state, ended.data.started_ms) == ("resolved", job.time_ms)
    assert waiting.announcement(job, job) is waiting.announcement(None, after) is None


def test_none_is_needed_unless_the_pipeline_asks_for_it() -> None:
    last = steps.play(steps.opened())[-1]
    assert last.phase == "registered"
    assert waiting.status(last, pipeline()) == "not required"


def link(until_ms: int = NOW + 1_000) -> tuple[str, str]:
    _, _, query = approval.path(KEY, JOB, until_ms).partition("?")
    until, proof = (part.partition("=")[2] for part in query.split("&"))
    return until, proof


def test_a_link_counts_until_it_expires_and_for_its_job_alone() -> None:
    until, proof = link()
    assert approval.refusal(KEY, JOB, until, proof, NOW) == ""
    assert "expired" in approval.refusal(KEY, JOB, until, proof, NOW + 1_001)
    assert "not for this job" in approval.refusal(KEY, "cd" * 16, until, proof, NOW)
    assert "not made here" in approval.refusal(b"another key of some length", JOB, until, proof, NOW)
    assert "not made here" in approval.refusal(KEY, JOB, str(int(until) + 1), proof, NOW), "its end is signed"
    assert "not made here" in approval.refusal(KEY, JOB, until, proof, NOW, "staging"), "its deployment is, too"
    assert "not whole" in approval.refusal(KEY, JOB, "soon", proof, NOW)
    assert "signs no links" in approval.refusal(None, JOB, until, proof, NOW)


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_other_text_is_a_link(proof: str, until: str) -> None:
    assert approval.refusal(KEY, JOB, until, proof, NOW)


def test_a_job_is_decided_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first = Ruling(job_id=JOB, approved=True, by="ada")
    assert rulings.place(settings, first)
    assert not rulings.place(settings, Ruling(job_id=JOB, approved=False))
    ((file, found),) = rulings.waiting(settings)
    assert found == first
    rulings.take(file)
    rulings.take(file)
    assert rulings.waiting(settings) == []
    assert not rulings.place(settings, first)
    (file.parent / "zz.json").write_text("no ruling")
    assert [ruling for _, ruling in rulings.waiting(settings)] == [None]


def test_the_key_has_no_default_and_must_be_one(tmp_path: Path) -> None:
    def key(environ: dict[str, str], **given: Any) -> bytes | None:
        return approval_key(Settings(data_dir=tmp_path, approval=ApprovalSettings(**given)), environ)

    assert key({}) is None
    assert key({"K": " 0123456789abcdef\n"}, key_env="K") == b"0123456789abcdef"
    (tmp_path / "key").write_text("0123456789abcdef0\n")
    assert key({}, key_file=str(tmp_path / "key")) == b"0123456789abcdef0"
    with pytest.raises(Stop, match=r"approval\.key_env names K, which holds no key of 16"):
        key({"K": "short"}, key_env="K")
    with pytest.raises(Stop, match=r"approval\.key_file is .*, which cannot be read"):
        key({}, key_file=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="name one of them"):
        ApprovalSettings(key_env="K", key_file="f")
