"""What a rollout reads from a real store: sessions, repeats, both arms, steps before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from serving.rollout.figures import WARM_UP, step_figures
from tests.integration.store_fixture import StoreProcess
from tidemill.events import RolloutState, StationTime, Verdict
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings

BEGAN = 1_700_000_000_000
STATE = RolloutState(
    rollout_id="rollout-1",
    seq=3,
    time_ms=BEGAN,
    pipeline="schedule",
    phase="canary",
    reason="",
    candidate_version="schedule-v2",
    candidate_adapter_dir="",
    champion_version="schedule-v1",
    steps=(25, 50, 100),
    weight=25,
    step_started_ms=BEGAN,
    created_ms=BEGAN - 10_000,
    stations=(StationTime(station="canary", started_ms=BEGAN),),
)


@pytest.fixture
def reading(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Store:
    """A database of its own, its tables made."""
    database = unique("figures").replace("-", "_")
    clickhouse = settings.clickhouse.model_copy(update={"url": store.url, "database": database})
    made = Store(settings.model_copy(update={"clickhouse": clickhouse}))
    made.migrate()
    return made


def call(number: int, variant: str, session: str = "", *, score: float = 1.0, **answer: Any) -> dict[str, Any]:
    """One answered and scored call, ``number`` ms after the step began."""
    call_id = uuid7(BEGAN + number, number.to_bytes(10, "big"))
    version = "schedule-v1" if variant == "champion" else "schedule-v2"
    shared = {"call_id": call_id, "call_time_ms": BEGAN + number, "time_ms": BEGAN + number + 5, "pipeline": "schedule"}
    arm = {"answer_id": call_id, "model_version": version, "variant": variant}
    timed = {"status": "ok", "e2e_ms": 100.0, "ttft_ms": 10.0, "cost_micros": 7}
    return {
        "responses": shared | arm | {"role": "client", "gen_ai_conversation_id": session or call_id} | timed | answer,
        "feedback": shared
        | arm
        | {"feedback_id": f"f-{number}", "kind": "score", "source": "scorer", "metric": "exact_match", "score": score},
    }


def write(store: Store, calls: list[dict[str, Any]], token: str) -> None:
    for table in ("responses", "feedback"):
        store.insert(table, pa.Table.from_pylist([each[table] for each in calls]), f"{table}-{token}")


def test_both_arms_are_read_with_their_sessions_and_each_answer_once(reading: Store) -> None:
    calls = [call(n, "canary") for n in range(WARM_UP)]
    calls += [call(100 + n, "champion", score=0.0, status="error" if n < 2 else "ok") for n in range(10)]
    calls += [call(200 + n, "canary", "chat", score=0.5) for n in range(4)]
    calls += [call(300 + n, "champion", "rejected", status="rejected") for n in range(2)]
    write(reading, calls, "first")
    write(reading, calls[:5], "again")
    found = step_figures(reading, STATE, "exact_match")
    assert (found.champion.scored, found.candidate.scored) == (12, WARM_UP + 4)
    assert (found.champion.answers, found.champion.failed) == (10, 2)
    assert found.candidate.answers == WARM_UP + 4
    assert found.failures.n == WARM_UP + 10, "the chat of four does not count yet"
    assert len(found.amounts["e2e_ms"].champion.values) == 8
    assert found.amounts["cost"].champion.values.tolist() == [7.0] * 8
    assert step_figures(reading, STATE, "json_equal").quality.n == 0


def test_sessions_of_the_canarys_earlier_steps_are_known(reading: Store) -> None:
    write(reading, [call(1, "canary", "old"), call(2, "champion", "stays")], "before")
    later = msgspec.structs.replace(
        STATE,
        step=1,
        weight=50,
        step_started_ms=BEGAN + 1_000,
        verdicts=(Verdict(check="canary-25", outcome="pass", time_ms=BEGAN + 1_000),),
    )
    write(reading, [call(1_001, "canary", "old"), call(1_002, "champion", "stays"), call(1_003, "champion")], "since")
    quality = step_figures(reading, later, "exact_match").quality
    assert quality.n == 2
    level, share = 0.5, 1 / 3
    assert quality.values[0] == pytest.approx(-share * (level - 1) / (share * (1 - share)))
