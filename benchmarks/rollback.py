"""How soon a harmful canary answers nobody any more: from its figures in the store to its last call.

Gateway, rollout role, broker and store are the real ones; the engine answers one word at once. Clients ask all the
while, each call a session of its own, half of them at the canary. Then scores by which the canary is far worse come
into the store; what is timed ends with the last call that the engine was asked for the canary. With many scores
(``python -m benchmarks.rollback 20000``) as many answers and thumbs of each arm lie in the store before, so that each
look takes long.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pyarrow as pa

from benchmarks.place import place, start
from benchmarks.rollback_engine import WordEngine
from serving.rollout import orders
from tidemill.clock import SystemClock
from tidemill.errors import Stop
from tidemill.events import RolloutState
from tidemill.ids import derived_id, uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import follower
from tidemill.io.secrets import gateway_keys, make_secrets
from tidemill.settings import Settings
from tidemill.topics import ROLLOUTS

REPETITIONS = 5
SCORES = 60
"""Of each arm; far more than are needed to prove that 0.1 is worse than 0.9."""
LEVEL = 0.9
"""Of the champion."""
CLIENTS = 4
PAUSE_S = 0.02
WITHIN_S = 120.0
WEIGHT = 50
SETTINGS = """
engines:
  local: {{url: '{url}'}}
mlflow: {{url: 'http://127.0.0.1:1'}}
pipelines:
  talk:
    engine: local
    champion: talk-v1
    champion_adapter: talk-v1
    retrain: {{enabled: false}}
    rollout: {{steps: [{weight}, 100], shadow_percent: 0, min_scored: 100000, watch_s: 0}}
"""
CLOCK = SystemClock()


class Rollbacks(NamedTuple):
    """Seconds of each repetition."""

    seconds: list[float]
    calls_s: float
    """Calls a second while it was measured."""


def rollbacks(repetitions: int = REPETITIONS, scores: int = SCORES) -> Rollbacks:
    """So many rollouts, each taken back, by so many scores of each arm. Half a minute, and as much for the stack to
    start; two minutes with 20,000 scores."""
    with WordEngine() as engine:
        text = SETTINGS.format(url=engine.url, weight=WEIGHT)
        with place(["kafka", "store"], text=text) as (settings, children):
            make_secrets(settings)
            for role in ("rollout", "gateway"):
                start(settings, children, role)
            ending = threading.Event()
            clients = [threading.Thread(target=_ask, args=(settings, ending), daemon=True) for _ in range(CLIENTS)]
            begun_s = time.monotonic()
            for client in clients:
                client.start()
            found = [_once(settings, engine, f"talk-v{number + 2}", scores) for number in range(repetitions)]
            calls_s = len(engine.asked) / (time.monotonic() - begun_s)
            ending.set()
            for client in clients:
                client.join(10)
    return Rollbacks(found, calls_s)


def _once(settings: Settings, engine: WordEngine, version: str, scores: int) -> float:
    """One rollout by order, harmful figures, and how long the canary was still asked."""
    (settings.data_dir / "adapters" / version).mkdir(parents=True)
    now_ms = CLOCK.now_ms()
    order = orders.Order(
        order_id=derived_id("bench", version, now_ms),
        act="start",
        pipeline="talk",
        by="bench",
        reason="a repetition",
        time_ms=now_ms,
        version=version,
    )
    orders.place(settings, order)
    begun = len(engine.asked)
    _until(lambda: any(model == version for _, model in engine.asked[begun:]), f"a call at {version}")
    state, store = _state(settings, version, "canary"), Store(settings)
    if scores > SCORES:
        _busy(store, state, scores)
        _state(settings, version, "canary", scored=1)
    store.insert("feedback", pa.Table.from_pylist(_scores(state, "exact_match", scores, 0.1)), f"harm-{version}")
    there_s = time.monotonic()
    _state(settings, version, "rolled_back")
    quiet_s = time.monotonic() + 1.0
    _until(lambda: time.monotonic() > quiet_s, "a second after it")
    last_s = max((at_s for at_s, model in list(engine.asked) if model == version), default=there_s)
    return max(0.0, last_s - there_s)


def _busy(store: Store, state: RolloutState, n: int) -> None:
    """As many answers and thumbs of each arm, and a few scores, by which both are alike: looks take their time."""
    answers = [
        {name: row[name] for name in ("call_id", "answer_id", "time_ms", "call_time_ms", "pipeline", "model_version")}
        | {"variant": row["variant"], "role": "client", "gen_ai_conversation_id": row["call_id"], "status": "ok"}
        | {"ttft_ms": 10.0 + number % 37, "e2e_ms": 100.0 + number % 91, "cost_micros": 7}
        for number, row in enumerate(_scores(state, "exact_match", n, LEVEL))
    ]
    store.insert("responses", pa.Table.from_pylist(answers), f"answers-{state.rollout_id}")
    alike = _scores(state, "thumb", n, LEVEL) + _scores(state, "exact_match", SCORES, LEVEL)
    store.insert("feedback", pa.Table.from_pylist(alike), f"alike-{state.rollout_id}")


def _scores(state: RolloutState, metric: str, n: int, level: float) -> list[dict[str, Any]]:
    """Scores of both arms since the step began, ``n`` of each, the canary's at this level."""
    rows = []
    for number in range(n):
        for version, variant, mean in (
            (state.champion_version, "champion", LEVEL),
            (state.candidate_version, "canary", level),
        ):
            call, now = uuid7(CLOCK.now_ms()), CLOCK.now_ms()
            rows.append(
                {
                    "feedback_id": call,
                    "call_id": call,
                    "answer_id": call,
                    "time_ms": now,
                    "call_time_ms": max(now, state.step_started_ms),
                    "pipeline": state.pipeline,
                    "model_version": version,
                    "variant": variant,
                    "kind": "score",
                    "source": "scorer",
                    "metric": metric,
                    "score": float((number * 7919 % 100) / 100 < mean),
                }
            )
    return rows


def _ask(settings: Settings, ending: threading.Event) -> None:
    """Calls one after the other, each a session of its own."""
    headers = {"Authorization": f"Bearer {gateway_keys(settings)[0]}"}
    url = f"http://127.0.0.1:{settings.gateway_port}/v1/chat/completions"
    body = {"model": "talk", "messages": [{"role": "user", "content": "a word, please"}]}
    with httpx.Client(headers=headers, trust_env=False, timeout=20) as client:
        while not ending.wait(PAUSE_S):
            client.post(url, json=body)


def _state(settings: Settings, version: str, phase: str, scored: int = 0) -> RolloutState:
    """The first state of the version's rollout in this phase, with so many scores seen. Raises Stop when there is none
    in time."""
    reader, decode = follower(settings, f"bench-{version}-{phase}-{scored}", ROLLOUTS), ROLLOUTS.decoder()
    end = time.monotonic() + WITHIN_S
    try:
        while time.monotonic() < end:
            for message in reader.consume(500, 0.1):
                if message.error() is not None:
                    continue
                state: RolloutState = decode(message.value())
                seen = state.figures.get("candidate_n") or 0
                if state.candidate_version == version and state.phase == phase and seen >= scored:
                    return state
    finally:
        reader.close()
    raise Stop(f"the rollout of {version} did not come to {phase} within {WITHIN_S:g} s")


def _until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > end:
            raise Stop(f"not within {WITHIN_S:g} s: {what}")
        time.sleep(0.01)


if __name__ == "__main__":
    print(rollbacks(scores=int(sys.argv[1]) if len(sys.argv) > 1 else SCORES))
