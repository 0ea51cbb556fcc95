"""One job from alarm to version, one step at a time, and the same from any point where the controller was killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from retrain.controller.advance import COLLECTING, Seen, Step, advance, waits_for, work_of
from retrain.controller.advance import pause_s as pause_s_of
from retrain.controller.states import from_trigger
from retrain.launchers.launcher import WorkSeen
from retrain.policy import Decision
from tests.unit.retrain.made import NOW, collecting, pipeline, trigger
from tidemill.codec import Decoder, encode
from tidemill.events import JobState

PIPELINE = pipeline()
OPEN = Decision(act="open", cause="open", reason="quality alarm", deadline_ms=NOW + 240_000, needed=300)
RESULTS: dict[str, dict[str, Any]] = {
    "snapshot": {"digest": "ab12", "counts": {"train": 400, "replay": 200}, "base_digest": "b", "folder": "/jobs/1"},
    "train": {"loss": 0.01, "steps": 150, "seconds": 30.0, "adapter_sha256": "cd34"},
    "evaluate": {
        "problems": [],
        "samples": [{"prompt": "p", "answer": "a"}],
        "paired": {"verified": [[1, 1]] * 4 + [[1, 0]] * 34 + [[0, 0]] * 2, "golden": [[1, 1]] * 300},
    },
    "parity": {"asked": 24, "equal": 24},
    "register": {"run_id": "r1", "version": "schedule-v2", "adapter_dir": "/adapters/schedule-v2"},
}


def done(name: str, **changes: Any) -> WorkSeen:
    return WorkSeen(state="done", attempts=1, result=RESULTS[name] | changes)


def play(job: JobState, changes: dict[str, WorkSeen] | None = None, *, restart: bool = False) -> list[JobState]:
    """All states to the end; with ``restart`` each is only known from its bytes on the topic."""
    works = {name: done(name) for name in RESULTS} | (changes or {})
    states, now = [job], NOW
    while states[-1].phase in ("collecting", "snapshot", "training", "gating"):
        now += 1_000
        before = states[-1]
        if restart:
            before = Decoder[JobState](JobState)(encode(before))
        step = advance(before, PIPELINE, Seen(now_ms=now, fresh=300, verified=30, works=works))
        assert step.state is not None, f"stuck in {before.phase}"
        states.append(step.state)
    return states


def opened() -> JobState:
    return from_trigger(trigger(), OPEN, NOW + 100, "schedule-v1")


def test_from_alarm_to_version() -> None:
    states = play(opened())
    assert [s.phase for s in states] == ["collecting", "snapshot", "training", *["gating"] * 3, "registered"]
    assert [s.seq for s in states] == list(range(7))
    last = states[-1]
    assert (last.candidate_version, last.run_id, last.registered_name) == ("schedule-v2", "r1", "schedule")
    assert last.adapter_dir == "/adapters/schedule-v2"
    assert [s.station for s in last.stations] == ["watch", "alarm", "data", "train", "gate"]
    assert all(s.ended_ms is not None for s in last.stations)
    assert [v.check for v in last.verdicts] == [
        "integrity",
        "verified_quality",
        "verified_gain",
        "golden_loss",
        "parity",
    ]
    assert last.scores["champion/verified"].mean == 0.1


def test_the_reason_says_who_was_left_out() -> None:
    states = play(opened(), {"snapshot": done("snapshot", notes=["tenant 'x' left out: 9 of 9"])})
    (training,) = [state for state in states if state.phase == "training"]
    assert training.reason == "training on 400 rows, 200 of them older; tenant 'x' left out: 9 of 9"


def test_the_reason_says_that_the_remote_lacks_the_data_set() -> None:
    states = play(opened(), {name: done(name, notes=["not pushed"]) for name in ("snapshot", "register")})
    assert states[2].reason.endswith("; not pushed")
    assert states[-1].reason == "schedule-v2 passed the gate; not pushed"


def test_a_killed_controller_changes_nothing() -> None:
    assert play(opened(), restart=True) == play(opened())


@pytest.mark.parametrize("name", list(RESULTS))
def test_a_crash_between_record_and_start_starts_the_work(name: str) -> None:
    states = play(opened())
    waiting = next(s for s in states if s.phase not in ("collecting", "registered") and work_of(s) == name)
    assert advance(waiting, PIPELINE, Seen(now_ms=NOW)) == Step(start=name)


@pytest.mark.parametrize("name", list(RESULTS))
def test_killed_work_is_started_again_twice_then_fails(name: str) -> None:
    states = play(opened())
    waiting = next(s for s in states if s.phase not in ("collecting", "registered") and work_of(s) == name)
    for tries, pause_ms in ((1, 2_000), (2, 4_000)):
        works = {name: WorkSeen(state="ended", attempts=tries, in_vain=tries, ended_ms=NOW, last_words="broke")}
        step = advance(waiting, PIPELINE, Seen(now_ms=NOW + pause_ms - 1, works=works))
        assert (step.start, "broke" in step.pause) == (None, True)
        assert advance(waiting, PIPELINE, Seen(now_ms=NOW + pause_ms, works=works)) == Step(start=name)
    works = {name: WorkSeen(state="ended", attempts=3, in_vain=3, last_words="out of memory")}
    state = advance(waiting, PIPELINE, Seen(now_ms=NOW, works=works)).state
    assert state is not None
    assert (state.phase, "out of memory" in state.reason) == ("failed", True)


def test_tries_that_got_further_do_not_count_and_the_pause_has_an_end() -> None:
    training = play(opened())[2]
    for in_vain, pause_s in ((0, 2), (1, 2), (2, 4)):
        work = WorkSeen(state="ended", attempts=50, in_vain=in_vain, ended_ms=NOW)
        assert advance(training, PIPELINE, Seen(now_ms=NOW + pause_s * 1000, works={"train": work})).start == "train"
    patient = pipeline(retrain={"launcher": {"max_tries": 100, "max_backoff_s": 60}})
    assert [pause_s_of(patient, n) for n in (1, 2, 5, 6, 99)] == [2, 4, 32, 60, 60]


def test_what_all_tries_held_of_gpus_is_in_the_figures() -> None:
    held = {name: WorkSeen(state="done", result=RESULTS[name], gpu_seconds=30.5) for name in ("train", "evaluate")}
    assert play(opened(), held)[-1].figures["gpu_seconds"] == 61.0
    broken = WorkSeen(state="ended", attempts=3, in_vain=3, gpu_seconds=12.0)
    training = play(opened())[2]
    last = advance(training, PIPELINE, Seen(now_ms=NOW, works={"train": broken})).state
    assert last is not None and last.figures["gpu_seconds"] == 12.0


@pytest.mark.parametrize("name", [COLLECTING, *RESULTS])
def test_a_job_is_cancelled_whatever_it_waits_for(name: str) -> None:
    waiting = next(s for s in play(opened()) if waits_for(s) == name)
    works = {name: WorkSeen(state="running", attempts=1, pid=7, started_ms=NOW)}
    step = advance(waiting, PIPELINE, Seen(now_ms=NOW, works=works, cancelled="wrong labels"))
    assert step.stop == (None if name == COLLECTING else name) and step.start is None and step.state is not None
    assert step.state.phase == "declined" and "wrong labels" in step.state.reason


def test_running_work_is_left_alone_and_its_process_noted() -> None:
    training = play(opened())[2]
    running = WorkSeen(state="running", attempts=1, pid=4711, started_ms=NOW)
    noted = advance(training, PIPELINE, Seen(now_ms=NOW, works={"train": running})).state
    assert noted is not None and noted.trainer_pid == 4711
    assert advance(noted, PIPELINE, Seen(now_ms=NOW, works={"train": running})) == Step()
    again = WorkSeen(state="running", attempts=2, pid=4712, started_ms=NOW)
    retried = advance(noted, PIPELINE, Seen(now_ms=NOW, works={"train": again})).state
    assert retried is not None and "try 2" in retried.reason


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_what_takes_too_long_is_stopped(name: str) -> None:
    waiting = next(s for s in play(opened())[1:] if work_of(s) == name)
    late = NOW + int(PIPELINE.retrain.timeout_s * 1000) + 1
    running = WorkSeen(state="running", attempts=1, pid=waiting.trainer_pid, started_ms=NOW)
    step = advance(waiting, PIPELINE, Seen(now_ms=late, works={name: running}))
    assert step.stop == name and step.state is not None
    assert (step.state.phase, "retrain.timeout_s" in step.state.reason) == ("failed", True)


REJECTIONS: list[tuple[dict[str, WorkSeen], str, int]] = [
    ({"evaluate": done("evaluate", problems=["sha256 differs"], paired={})}, "integrity fail: sha256 differs", 1),
    (
        {
            "evaluate": done(
                "evaluate",
                paired=RESULTS["evaluate"]["paired"] | {"verified": [[1, 0]] * 16 + [[0, 0]] * 24},
            )
        },
        "verified_quality fail: 0.40 on 40",
        4,
    ),
    ({"parity": done("parity", equal=10)}, "parity fail: 10 of 24", 5),
    ({"parity": done("parity", asked=0, equal=0, problem="rank 64 is too large")}, "rank 64 is too large", 5),
]


@pytest.mark.parametrize(("changes", "words", "verdicts"), REJECTIONS)
def test_rejected_with_its_run_and_no_version(changes: dict[str, WorkSeen], words: str, verdicts: int) -> None:
    last = play(opened(), changes | {"register": done("register", version="never")})[-1]
    assert (last.phase, last.candidate_version, last.run_id) == ("rejected", "", "r1")
    assert words in last.reason
    assert len(last.verdicts) == verdicts


@pytest.mark.parametrize("name", list(RESULTS))
def test_a_refusal_fails_the_job_with_its_words(name: str) -> None:
    last = play(opened(), {name: WorkSeen(state="done", result={"refused": "too few rows"})})[-1]
    assert (last.phase, last.reason) == ("failed", f"{name}: too few rows")


def test_quality_that_comes_back_ends_the_collecting() -> None:
    state = advance(collecting(), PIPELINE, Seen(now_ms=NOW, resolved=True, fresh=10, verified=1)).state
    assert state is not None and state.phase == "declined"


def test_a_store_that_is_away_holds_the_job() -> None:
    assert advance(collecting(), PIPELINE, Seen(now_ms=NOW + 10**7)) == Step()


def test_an_alarm_declined_for_a_while_opens_the_same_job_later() -> None:
    declined = Decision(act="decline", cause="cooldown", reason="cooling", again_ms=NOW + 9)
    cooling = from_trigger(trigger(), declined, NOW, "v1")
    later = from_trigger(trigger(), OPEN, NOW + 10, "v1", cooling)
    assert (cooling.phase, cooling.deadline_ms, later.phase, later.seq) == ("declined", NOW + 9, "collecting", 1)
    assert later.job_id == cooling.job_id


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_a_clock_that_was_set_stops_no_work_and_holds_up_no_try(name: str) -> None:
    waiting = next(s for s in play(opened())[1:] if work_of(s) == name)
    day_s = 86_400.0
    running = WorkSeen(state="running", attempts=1, pid=waiting.trainer_pid, started_ms=NOW, ran_s=5.0)
    assert advance(waiting, PIPELINE, Seen(now_ms=NOW + round(day_s * 1000), works={name: running})).stop is None
    slow = replace(running, ran_s=PIPELINE.retrain.timeout_s + 1)
    assert advance(waiting, PIPELINE, Seen(now_ms=NOW - round(day_s * 1000), works={name: slow})).stop == name
    ended = WorkSeen(state="ended", attempts=1, in_vain=1, ended_ms=NOW)
    assert advance(waiting, PIPELINE, Seen(now_ms=NOW - round(day_s * 1000), works={name: ended})).start == name
