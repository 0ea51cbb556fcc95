"""A turn told at its end: what changed, what it cost, what it gained; orders and verdicts in the page."""

from __future__ import annotations

import msgspec

from serving.rollout.report import ended, page, summary
from tests.unit.serving_rollout.test_decide import JOB, NOW, in_phase
from tidemill.events import OrderTaken, StationTime, Verdict

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
    stations=(StationTime(station="train", started_ms=NOW, ended_ms=NOW + 41_000),),
)


def test_a_turn_says_what_changed_what_it_cost_and_what_it_gained() -> None:
    assert summary(CHAMPION, TRAINED) == (
        "schedule-v2 took over from schedule-v1, begun after an alarm on quality at 0.31. "
        "Cost: 300 fresh labels, 41 s of training, 90 s of rollout, 120 answers of the canary to clients. "
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
