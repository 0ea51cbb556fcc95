"""A turn told at its end: what changed, what it cost, what it gained; orders and verdicts in the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.rollout.report import ended, last_turn, page, page_of_job, summary
from tests.unit.serving_rollout.test_decide import JOB, NOW, in_phase
from tidemill.cli import context
from tidemill.cli import rollout as command
from tidemill.errors import Stop
from tidemill.events import JobState, OrderTaken, RolloutState, Score, StationTime, Verdict
from tidemill.settings import Settings
from tidemill.topics import JOBS, Topic

BOTH: dict[str, float | None] = {"candidate_mean": 0.91, "champion_mean": 0.34, "candidate_answers": 120.0}
CHAMPION = in_phase(
    "champion",
    step_started_ms=NOW + 90_000,
    verdicts=(
        Verdict(check="canary-25", outcome="pass", reason="no harm | found", figures=BOTH, time_ms=NOW),
        Verdict(check="watch", outcome="pass", reason="no harm found: 0.90 in 230 scores since it took over"),
    ),
    watch="kept",
    orders=(OrderTaken(order_id="o", act="promote", by="anna", reason="slow labels", time_ms=NOW),),
)
TRAINED = msgspec.structs.replace(
    JOB,
    alarm_metric="quality",
    alarm_value=0.31,
    fresh_labels=300,
    stations=(
        StationTime(station="train", started_ms=NOW, ended_ms=NOW + 41_000),
        StationTime(station="gate", started_ms=NOW + 41_000, ended_ms=NOW + 60_000),
    ),
)
REJECTED = msgspec.structs.replace(
    TRAINED,
    job_id="job-9",
    phase="rejected",
    reason="verified_quality fail: 0.52 is less than 0.6",
    candidate_version="",
    champion_version="schedule-v1",
    created_ms=NOW + 1_000,
    scores={
        "candidate/verified": Score(n=31, mean=0.52),
        "champion/verified": Score(n=31, mean=0.5),
        "candidate/golden": Score(n=0, mean=None),
        "champion/golden": Score(n=0, mean=None),
    },
    verdicts=(Verdict(check="verified_quality", outcome="fail", reason="0.52 is less than 0.6", time_ms=NOW),),
    figures={"gpu_seconds": 83.0},
)


def test_a_turn_says_what_changed_what_it_cost_and_what_it_gained() -> None:
    assert summary(CHAMPION, TRAINED) == (
        "schedule-v2 took over from schedule-v1, begun after an alarm on quality at 0.31. "
        "Cost: 300 fresh labels, 41 s of training, 60 s of training and gate without a GPU, 90 s of rollout, "
        "120 answers of the canary to clients. "
        "Gain: quality 0.91 beside 0.34 of schedule-v1, in canary-25; "
        "no harm found: 0.90 in 230 scores since it took over."
    )


def test_a_turn_that_came_to_nothing_says_why() -> None:
    back = in_phase("rolled_back", reason="harm proven in shadow: worse")
    assert "was rolled back, it stays schedule-v1 (harm proven in shadow: worse)" in summary(back, None)
    assert "not known, as nothing was scored" in summary(back, None)


def test_a_watched_champion_has_not_ended() -> None:
    assert ended(CHAMPION) and not ended(msgspec.structs.replace(CHAMPION, watch="open"))
    assert not ended(in_phase("canary")) and ended(in_phase("failed"))


def test_the_page_has_every_verdict_and_order() -> None:
    said = page(CHAMPION, TRAINED)
    assert "| canary-25 | pass | no harm \\| found |" in said
    assert "| anna | promote | slow labels |  |" in said
    assert page(in_phase("canary", reason="answers 25 %"), None).count("answers 25 %") == 1


def test_what_was_held_of_gpus_counts_in_seconds_and_at_their_price() -> None:
    held = msgspec.structs.replace(TRAINED, figures={"gpu_seconds": 7_200.0})
    assert "41 s of training, 7200 GPU-seconds, 90 s of rollout" in summary(CHAMPION, held)
    assert "7200 GPU-seconds (7.00 USD)" in summary(CHAMPION, held, 3.5)
    assert "60 s of training and gate without a GPU (0.0033 USD)" in summary(CHAMPION, TRAINED, 0.2)
    assert "USD" not in summary(CHAMPION, TRAINED) and "(0 USD)" in summary(CHAMPION, TRAINED, 0.0)
    assert "GPU" not in summary(CHAMPION, JOB, 3.5), "it has had none"


def test_a_turn_that_ended_at_the_gate_says_what_the_gate_said_and_what_it_cost() -> None:
    said = page_of_job(REJECTED, 3.6)
    assert said.startswith("# schedule, job job-9: rejected\n")
    assert (
        "nothing, it stays schedule-v1: the job, begun after an alarm on quality at 0.31, was rejected: verif" in said
    )
    assert "300 fresh labels, 41 s of training, 83 GPU-seconds (0.083 USD)\n" in said
    assert "the gate measured quality 0.52 beside 0.50 of schedule-v1 on 31 rows (verified)\n" in said
    assert "| verified_quality | fail | 0.52 is less than 0.6 |" in said


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("failed", "nothing, it stays the champion: the job failed: why"),
        ("declined", "nothing, it stays the champion: the job was given up: why"),
        ("collecting", "nothing yet: why"),
        ("registered", "nothing yet: schedule-v2 waits for its rollout"),
    ],
)
def test_a_turn_without_a_rollout_says_where_it_stands(phase: Any, words: str) -> None:
    said = page_of_job(msgspec.structs.replace(JOB, phase=phase, reason="why"))
    assert words in said and "nothing, and nothing was scored" in said


def turn(rollouts: list[RolloutState], jobs: list[JobState]) -> tuple[str, str]:
    state, job = last_turn("schedule", rollouts, jobs)
    return state.rollout_id if state else "", job.job_id if job else ""


def test_the_last_turn_is_the_rollouts_unless_a_job_has_begun_since() -> None:
    own = CHAMPION.rollout_id
    older = msgspec.structs.replace(REJECTED, created_ms=NOW - 1)
    declined = msgspec.structs.replace(REJECTED, job_id="no", phase="declined", stations=(), created_ms=NOW + 9_000)
    elsewhere = msgspec.structs.replace(REJECTED, job_id="else", pipeline="support", created_ms=NOW + 9_000)
    assert turn([], []) == turn([], [declined, elsewhere]) == ("", "")
    assert turn([], [TRAINED]) == ("", "job-1")
    assert turn([CHAMPION], [TRAINED, older, declined, elsewhere]) == (own, "job-1")
    assert turn([CHAMPION], [TRAINED, REJECTED]) == ("", "job-9")
    later = msgspec.structs.replace(TRAINED, created_ms=NOW + 5)
    assert turn([CHAMPION], [later]) == (own, "job-1"), "a clock set back"
    assert turn([CHAMPION], [older]) == (own, ""), "its job is not kept any more"


def test_of_a_jobs_states_the_newest_is_told() -> None:
    earlier = msgspec.structs.replace(REJECTED, seq=REJECTED.seq - 1, phase="gating")
    assert last_turn("schedule", [], [REJECTED, earlier]) == (None, REJECTED)


def test_the_command_tells_a_turn_without_a_rollout_and_that_there_was_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs: list[JobState] = []
    told = {"engines": {"local": {}}, "pipelines": {"schedule": {"engine": "local", "champion": "schedule-v1"}}}
    made = Settings.model_validate({"data_dir": str(tmp_path), "gpu": {"usd_per_hour": 3.6}, **told})

    def content(settings: Settings, topic: Topic) -> list[Any]:
        return list(jobs) if topic is JOBS else []

    monkeypatch.setattr(context, "settings", lambda: made)
    monkeypatch.setattr(context, "needs_stack", lambda settings: None)
    monkeypatch.setattr(command, "content", content)
    with pytest.raises(Stop, match="has had no turn yet, no job and no rollout"):
        command.report("schedule")
    jobs.append(REJECTED)
    command.report("schedule")
    assert "was rejected: verified_quality fail" in (said := capsys.readouterr().out) and "0.083 USD" in said
