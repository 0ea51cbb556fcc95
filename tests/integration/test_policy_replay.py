"""The command over a history in the real store: what is read back, what is said of it, and of a time without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from retrain.controller.labels import ask
from retrain.replay.heard import Heard
from retrain.replay.history import Estimate, Training
from retrain.replay.source import read
from tests.integration.store_fixture import StoreProcess
from tests.unit.retrain.made import alarm, pipeline
from tests.unit.retrain_replay.made import SECOND, START, falling, past
from tidemill.cli.main import app
from tidemill.codec import encode
from tidemill.errors import Stop
from tidemill.io.clickhouse import Store
from tidemill.local.demo.overrides import with_overrides
from tidemill.settings import QualitySettings, Settings, TriggerSettings

DATABASE = "policy_replay"
FALL, HEALED, TRAINED = 600, 900, 750
UNTIL = START + 1_300 * SECOND
MADE = past(falling(FALL, HEALED, healed=True), 1_200)
CHANGE = START + 640 * SECOND
"""As the notice of drift says it."""
ESTIMATES = [
    Estimate(START + (at + 36) * SECOND, START + at * SECOND, START + (at + 30) * SECOND, high)
    for at, high in ((600, 0.99), (630, 0.9), (660, 0.6), (690, 0.5))
]
SOURCE = {"_topic": "replay", "_partition": 0, "_offset": 0}


@pytest.fixture(scope="module")
def filled(store: StoreProcess, stack_settings: Settings) -> Store:
    url = {"clickhouse.url": store.url, "clickhouse.database": DATABASE}
    tables = Store(with_overrides(stack_settings, url))
    tables.migrate()
    for table, records in rows().items():
        tables.insert(table, pa.Table.from_pylist([SOURCE | record for record in records]), f"replay-{table}")
    return tables


def rows() -> dict[str, list[dict[str, Any]]]:
    """The made past as the sink would have written it: a score sent twice, a shadow's, a window revised."""
    requests: list[dict[str, Any]] = []
    feedback: list[dict[str, Any]] = []
    for point, label in zip(MADE.scores, MADE.labels, strict=True):
        call: dict[str, Any] = {"call_id": point.feedback_id, "pipeline": "schedule"}
        asked = json.dumps([{"role": "user", "content": label.prompt}])
        requests.append(
            call
            | {"time_ms": point.call_time_ms, "gen_ai_conversation_id": label.session, "gen_ai_input_messages": asked}
        )
        said = call | {
            "time_ms": point.time_ms,
            "call_time_ms": point.call_time_ms,
            "variant": point.variant,
            "model_version": point.model_version,
        }
        known = {"feedback_id": f"l{point.feedback_id}", "kind": "label", "source": label.source, "value": "x"}
        scored = {"feedback_id": point.feedback_id, "kind": "score", "source": "scorer", "value": None}
        feedback.append(said | known | {"metric": "", "score": None})
        feedback.append(said | scored | {"metric": "exact_match", "score": point.score})
    feedback.append(feedback[-1])
    feedback.append(feedback[1] | {"feedback_id": "shadow", "variant": "shadow"})
    windows: list[dict[str, Any]] = [
        {
            "pipeline": "schedule",
            "model_version": version,
            "variant": "champion",
            "role": "client",
            "metric": "answers",
            "start_ms": start,
            "end_ms": end,
            "n": n,
            "value": None,
            "revision": revision,
            "time_ms": end,
        }
        for start, end, answers in MADE.calls.windows
        for version, revision, n in (("v1", 0, 1), ("v1", 1, answers - 10), ("v2", 0, 10))
    ]
    windows += [
        {
            "pipeline": "schedule",
            "model_version": "v1",
            "variant": "champion",
            "role": "client",
            "metric": metric,
            "start_ms": said.start_ms,
            "end_ms": said.end_ms,
            "n": 300,
            "value": value,
            "revision": 0,
            "time_ms": said.time_ms,
        }
        for said in ESTIMATES
        for metric, value in (("quality_estimate_high", said.high), ("quality_estimate_low", 0.0))
    ]
    began, ended = START + TRAINED * SECOND, START + (TRAINED + 100) * SECOND
    states = ((START + 620 * SECOND, "collecting"), (began, "snapshot"), (began + 5, "training"), (ended, "registered"))
    state = json.dumps({"alarm_id": "alarm-1"})
    jobs = [
        {"job_id": "j1", "seq": seq, "time_ms": at, "pipeline": "schedule", "phase": phase, "state": state}
        for seq, (at, phase) in enumerate(states)
    ]
    event = alarm("drift", time_ms=START + 650 * SECOND)
    said_of = msgspec.to_builtins(event)
    kept = {name: said_of[name] for name in ("id", "source", "type", "subject", "time_ms")}
    champion = {
        "rollout_id": "r1",
        "seq": 9,
        "time_ms": START + HEALED * SECOND,
        "pipeline": "schedule",
        "phase": "champion",
    }
    return {
        "requests": requests,
        "feedback": feedback,
        "windows": windows,
        "jobs": jobs,
        "rollouts": [champion | {"state": json.dumps({"job_id": "j1"})}],
        "events": [kept | {"pipeline": "schedule", "data": encode(event.data).decode()}],
    }


def command(store: StoreProcess, *options: str, database: str = DATABASE) -> Result:
    environment = {"TIDEMILL_CLICKHOUSE__URL": store.url, "TIDEMILL_CLICKHOUSE__DATABASE": database}
    settings = str(Path(__file__).parents[2] / "tidemill.yaml")
    return CliRunner().invoke(app, ["--settings", settings, "policy", "replay", *options], env=environment)


def test_the_past_is_read_back_as_it_was(filled: Store) -> None:
    told: list[tuple[int, int]] = []
    found = read(filled, "schedule", "exact_match", START, UNTIL, lambda done, of: told.append((done, of)))
    assert list(found.scores) == list(MADE.scores)
    assert [label[:4] for label in found.labels] == [label[:4] for label in MADE.labels]
    assert len({label.prompt for label in found.labels}) == len(MADE.labels)
    assert list(found.calls.windows) == list(MADE.calls.windows)
    assert [event.data.kind for event in found.alarms] == ["drift"]
    began, ended = START + TRAINED * SECOND, START + (TRAINED + 100) * SECOND
    assert found.trainings == [Training(began, ended, START + HEALED * SECOND, drift=True)]
    assert list(found.estimates) == ESTIMATES
    assert told == [(1, 1)]


def test_the_replay_knows_of_a_change_what_the_controller_asks_the_store(filled: Store) -> None:
    history = read(filled, "schedule", "exact_match", START, UNTIL, lambda *_: None)
    for estimate in (True, False):
        worth = TriggerSettings(usd_per_point=0.1)
        settings = pipeline(quality=QualitySettings(estimate=estimate), trigger=worth)
        heard = Heard(history, settings)
        for point in history.scores:
            heard.score(point.call_time_ms, point.score)
        for said in history.estimates:
            heard.estimate(said)
        asked, known = ask(filled, "schedule", settings, CHANGE, UNTIL), heard.since(CHANGE, UNTIL)
        assert (asked.sure_loss is not None) == estimate
        assert asked.calls_per_day == pytest.approx(864_000), "ten a second"
        for name in ("fresh", "estimated_loss", "sure_loss", "calls_per_day"):
            assert getattr(known, name) == pytest.approx(getattr(asked, name)), name
        assert heard.counted(CHANGE, UNTIL) == (asked.fresh, asked.verified)


def test_policies_are_compared_on_one_line(filled: Store, store: StoreProcess, tmp_path: Path) -> None:
    (tmp_path / "eager.yaml").write_text("retrain: {min_fresh_labels: 50, floor_labels: 20}\ngate: {min_verified: 2}\n")
    asked = ["--from", str(START), "--to", str(UNTIL), "--pipeline", "schedule", "--gpu-usd-per-hour", "3.6"]
    done = command(
        store, *asked, "--policy", str(tmp_path / "eager.yaml"), "--plot", str(tmp_path / "picture.png"), "--json"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    recorded, as_set, eager = said["results"]
    assert (eager["train_s"], eager["takeover_s"], said["truth"]) == (100, 50, "measured")
    assert [each["policy"] for each in said["results"]] == ["recorded", "as set", "eager"]
    assert recorded["trigger_delay_s"] == pytest.approx(150, abs=6)
    assert (recorded["triggers"], recorded["notices"], recorded["missed"]) == (1, 1, 0)
    assert (recorded["drift_triggers"], as_set["drift_triggers"]) == (1, 0)
    assert eager["trigger_delay_s"] < as_set["trigger_delay_s"]
    assert eager["gpu_cost_usd"] == pytest.approx(0.1)
    assert eager["loss"] < recorded["loss"] and eager["loss_avoided"] > recorded["loss_avoided"] > 0
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    table = command(store, *asked)
    assert "schedule: 1,200 scores, 4 estimates, 1 fall of quality" in table.output and "recorded" in table.output


def test_before_there_is_data_one_sentence_says_so(store: StoreProcess, stack_settings: Settings) -> None:
    asked = ["--from", "1h", "--pipeline", "schedule"]
    bare = command(store, *asked, database="policy_bare")
    assert str(bare.exception).startswith("there is no data yet: the store has no tables.")
    empty = {"clickhouse.url": store.url, "clickhouse.database": "policy_empty"}
    Store(with_overrides(stack_settings, empty)).migrate()
    nothing = str(command(store, *asked, database="policy_empty").exception)
    assert nothing.startswith("no history: schedule has no scores") and "there are no scores at all" in nothing


def test_a_time_without_history_says_where_there_is_some(filled: Store) -> None:
    with pytest.raises(Stop, match=r"no history: schedule has no scores of 'exact_match' .*: choose --from and --to"):
        read(filled, "schedule", "exact_match", 0, 1_000, lambda *_: None)
    with pytest.raises(Stop, match=r"no history: support .*; there are scores of schedule: scores come from labels"):
        read(filled, "support", "exact_match", START, UNTIL, lambda *_: None)
