"""The embedded registry is a real MLflow server that keeps aliases and artifacts; a lineage is walked over it and the
real store.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import yaml
from msgspec.structs import replace

from retrain import adapter, places, registry
from retrain.lineage.found import CallLineage, VersionLineage
from retrain.lineage.look import Looker
from retrain.register import RegisterSpec, write
from retrain.snapshot import SnapshotSpec, take
from retrain.train.spec import Trial
from retrain.trials import PARENT_TAG, TRIAL_TAG, log_trials, made_for
from retrain.whole import write_json
from retrain.work import save_settings
from serving.rollout import orders
from serving.rollout.keeper import Keeper
from serving.rollout.registry import Registry
from tests.integration.retrain_world import CLOCK, LabelledCalls, alarm, write_models, write_settings
from tests.integration.store_fixture import StoreProcess
from tidemill.codec import encode
from tidemill.errors import Retry, Stop
from tidemill.events import Arm, JobState, RolloutState, Route, Score
from tidemill.events.lifecycle import RolloutPhase
from tidemill.evidence import evidence_file, report_page
from tidemill.ids import derived_id, uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.mlflow import DECLARED_TAG
from tidemill.settings import Settings, load_settings

PIPELINE, JOB = "plans-lineage", "f00d" * 8
NOW = CLOCK.now_ms()
LATER = uuid7(NOW + 29_000)
TRIALS = [
    Trial(lr=1e-3, keep_weight=0.5, steps=6, loss=1.25, seconds=2.5),
    Trial(lr=3e-3, keep_weight=0.5, steps=6, loss=0.75, seconds=2.25),
]


def call(url: str, body: dict[str, str]) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def test_experiments_are_kept_under_data_dir(mlflow: str, settings: Settings) -> None:
    made = call(f"{mlflow}/api/2.0/mlflow/experiments/create", {"name": "try"})
    with urllib.request.urlopen(
        f"{mlflow}/api/2.0/mlflow/experiments/get?experiment_id={made['experiment_id']}", timeout=30
    ) as answer:
        experiment = json.load(answer)["experiment"]
    assert experiment["artifact_location"].startswith("mlflow-artifacts:")
    assert (Path(settings.data_dir) / "mlflow" / "mlflow.db").stat().st_size > 0


@pytest.fixture
def deployed(stack_settings: Settings, store: StoreProcess, mlflow: str, tmp_path: Path) -> Settings:
    """One pipeline with 240 labelled calls, on a database and a data folder of its own."""
    write_models(tmp_path / "data" / "models")
    file = write_settings(tmp_path / "tidemill.yaml", PIPELINE, "http://127.0.0.1:9/v1")
    overrides = {
        "TIDEMILL_DATA_DIR": str(tmp_path / "data"),
        "TIDEMILL_LOCAL__PORT_BASE": str(stack_settings.local.port_base),
        "TIDEMILL_CLICKHOUSE__URL": store.url,
        "TIDEMILL_CLICKHOUSE__DATABASE": "lineage",
        "TIDEMILL_DEPLOYMENT": "lineage",
    }
    settings = load_settings(file, overrides)
    Store(settings).migrate()
    calls = LabelledCalls(Store(settings), PIPELINE)
    calls.write("plain", 120, NOW - 200_000, NOW - 101_000)
    calls.write("words", 120, NOW - 100_000, NOW - 1_000)
    return settings


def made(settings: Settings) -> JobState:
    """A job as far as the registry: a real data set, an adapter's files, a version."""
    folder = places.job_dir(settings, JOB)
    folder.mkdir(parents=True)
    frozen = str(save_settings(settings, folder))
    given = SnapshotSpec(settings=frozen, job_id=JOB, pipeline=PIPELINE, change_ms=NOW - 100_000, until_ms=NOW)
    data = take(given)
    adapter_dir = places.candidate_dir(settings, JOB)
    adapter_dir.mkdir()
    (adapter_dir / adapter.WEIGHTS).write_bytes(b"weights")
    (adapter_dir / adapter.CONFIG).write_text("{}")
    (adapter_dir / adapter.RESULT).write_bytes(msgspec.json.encode({"trials": TRIALS}))
    (folder / "evaluate").mkdir()
    scores = {"candidate/verified": Score(n=40, mean=0.9), "champion/verified": Score(n=40, mean=0.3)}
    write_json(folder / "evaluate" / "result.json", {"scores": scores})
    for file in (evidence_file(settings.data_dir, "alarm-7"), report_page(settings.data_dir, "alarm-7")):
        file.parent.mkdir(exist_ok=True)
        file.write_text("found")
    tags = {"tidemill.alarm_id": "alarm-7", "tidemill.data_digest": data["digest"], "tidemill.verdict": "accepted"}
    written = RegisterSpec(
        settings=frozen,
        job_id=JOB,
        pipeline=PIPELINE,
        accepted=True,
        tags=tags,
        metrics={},
        adapter_dir=str(adapter_dir),
        params={"steps": "6"},
        losses=[(1, 0.5)],
    )
    result = write(written)
    assert write(written) == result, "it may be repeated"
    return JobState(
        job_id=JOB,
        seq=5,
        time_ms=NOW + 5_000,
        pipeline=PIPELINE,
        phase="registered",
        reason="passed",
        alarm_id="alarm-7",
        alarm_metric="quality",
        created_ms=NOW,
        champion_version=f"{PIPELINE}-v1",
        candidate_version=result["version"],
        run_id=result["run_id"],
        data_digest=data["digest"],
        data_counts=data["counts"],
        scores=scores,
    )


def told(settings: Settings, job: JobState) -> list[dict[str, str]]:
    """Job, rollout, alarm and answers as the sink would have written them; gives back the calls that have labels."""
    store = Store(settings)
    state = RolloutState(
        rollout_id="rollout-7",
        seq=3,
        time_ms=NOW + 60_000,
        pipeline=PIPELINE,
        phase="champion",
        reason="serves all",
        job_id=JOB,
        candidate_version=job.candidate_version,
        step_started_ms=NOW,
        candidate_adapter_dir="",
        champion_version=f"{PIPELINE}-v1",
        created_ms=NOW + 6_000,
    )
    fired = alarm(PIPELINE, "alarm-7", NOW - 100_000, NOW - 50_000)
    for table, key, event in (("jobs", "job_id", job), ("rollouts", "rollout_id", state)):
        row = {key: getattr(event, key), "seq": event.seq, "time_ms": event.time_ms, "pipeline": PIPELINE}
        row |= {"phase": event.phase, "state": encode(event).decode()}
        store.insert(table, pa.Table.from_pylist([row]), f"lineage-{table}")
    noticed: dict[str, object] = {"id": fired.id, "source": fired.source, "type": fired.type, "time_ms": fired.time_ms}
    noticed |= {"pipeline": PIPELINE, "data": encode(fired.data).decode()}
    store.insert("events", pa.Table.from_pylist([noticed]), "lineage-events")
    asked = store.rows("SELECT call_id, time_ms FROM requests ORDER BY time_ms")
    rows = [
        {"call_id": row["call_id"], "answer_id": f"a-{row['call_id']}", "role": "client", "time_ms": row["time_ms"] + 5}
        | {"call_time_ms": row["time_ms"], "pipeline": PIPELINE, "model_version": f"{PIPELINE}-v1"}
        | {"variant": "champion", "status": "ok"}
        for row in asked
    ]
    later = {"answer_id": "later", "call_id": LATER, "model_version": job.candidate_version, "time_ms": NOW + 30_000}
    rows.append(rows[0] | later | {"call_time_ms": NOW + 29_000})
    store.insert("responses", pa.Table.from_pylist(rows), "lineage-responses")
    return asked


def test_lineage_leads_from_an_answer_to_the_data_of_its_version_and_back(deployed: Settings) -> None:
    job = made(deployed)
    calls = told(deployed, job)
    looker = Looker(deployed, Store(deployed))

    version = looker.lineage(job.candidate_version)
    assert isinstance(version, VersionLineage) and version.training is not None and looker.unasked == ""
    assert (version.training.data.digest, version.training.data.intact) == (job.data_digest, True)
    assert (version.training.alarm.kind, version.training.alarm.reference) == ("quality", 0.9)
    assert version.training.data.origins["sources"]["audit"]["licence"] == "CC-BY-4.0"
    assert [way.rollout_id for way in version.rollouts] == ["rollout-7"] and version.before == [f"{PIPELINE}-v1"]
    assert version.registered is not None and version.registered.aliases == ["candidate"]
    assert version.registered.tags["tidemill.rollout_id"] == derived_id("rollout", JOB)
    assert [(each.variant, each.answers) for each in version.served] == [("champion", 1)]

    first = looker.lineage(f"{PIPELINE}-v1")
    assert isinstance(first, VersionLineage) and first.training is None
    assert first.registered is not None and first.registered.aliases == ["champion"]
    assert [(each.job_id, each.version, each.labelled_calls) for each in first.used_by] == [
        (JOB, job.candidate_version, 240)
    ]

    answered = looker.lineage(f"chatcmpl-{LATER.replace('-', '')}TAG")
    assert isinstance(answered, CallLineage) and answered.used_by == []
    (answer,) = answered.answers
    assert answer.rollout_id == "rollout-7"
    assert answer.lineage is not None and answer.lineage.training is not None
    assert answer.lineage.training.job_id == JOB

    found = [looker.lineage(row["call_id"]) for row in calls[120::10]]
    held = [holder.held for each in found if isinstance(each, CallLineage) for holder in each.used_by]
    assert len(held) == 12 and "trained on" in held and "not known" not in held
    with pytest.raises(Stop, match="no answer to a call"):
        looker.lineage("0199c0de-0000-7000-8000-0123456789ab")

    told_by_mlflow = registry.client(deployed).get_model_version(PIPELINE, "2")
    assert told_by_mlflow.description.startswith("# plans-lineage-v2")
    assert "| verified | 40 | 0.900 | 0.300 | +0.600 |" in told_by_mlflow.description
    kept = {item.path for item in registry.client(deployed).list_artifacts(job.run_id)}
    assert {"model_card.md", "data", "adapter"} <= kept
    alarms = registry.client(deployed).list_artifacts(job.run_id, registry.EVIDENCE)
    assert {Path(item.path).name for item in alarms} == {"alarm-7.evidence.json", "alarm-7.html"}
    _trials_are_nested_and_repeat_nothing(deployed, job)


def _trials_are_nested_and_repeat_nothing(settings: Settings, job: JobState) -> None:
    """The job was written to the registry twice; then a writing goes on that was killed at the last trial."""
    mlflow = registry.client(settings)
    parent = mlflow.get_run(job.run_id).info

    def nested() -> dict[str, Any]:
        runs = mlflow.search_runs([parent.experiment_id], f"tags.`{PARENT_TAG}` = '{job.run_id}'")
        found = {run.data.tags[TRIAL_TAG]: run for run in runs}
        assert len(runs) == len(found), "each once"
        return found

    first = nested()
    told = made_for(places.candidate_dir(settings, job.job_id))
    assert told == [msgspec.to_builtins(trial) for trial in TRIALS]
    for number, trial in enumerate(told, start=1):
        run = first[f"trial {number}"]
        assert run.info.status == "FINISHED" and run.info.run_name == f"trial {number}"
        assert run.data.metrics == {key: trial[key] for key in ("loss", "seconds")}
        assert run.data.params == {key: str(trial[key]) for key in ("lr", "keep_weight", "steps")}
    third = {"lr": 1e-2, "keep_weight": 0.5, "steps": 6, "loss": 2.0, "seconds": 2.0}
    killed = mlflow.create_run(
        parent.experiment_id, run_name="trial 3", tags={PARENT_TAG: job.run_id, TRIAL_TAG: "trial 3"}
    )
    log_trials(settings, job.run_id, [*told, third])
    assert {name: run.info.run_id for name, run in nested().items()} == {
        **{name: run.info.run_id for name, run in first.items()},
        "trial 3": killed.info.run_id,
    }
    assert nested()["trial 3"].data.metrics["loss"] == 2.0
    gone = settings.model_copy(update={"mlflow": settings.mlflow.model_copy(update={"url": "http://127.0.0.1:9"})})
    with pytest.raises(Retry, match="MLflow"):
        log_trials(gone, job.run_id, told)


def test_an_alias_moved_in_mlflow_becomes_an_order_and_shows_the_truth_until_it_is_done(
    stack_settings: Settings, mlflow: str, tmp_path: Path
) -> None:
    people = registry.client(stack_settings)
    people.create_registered_model("moved")
    for number in ("1", "2"):
        assert people.create_model_version("moved", f"s3://models/moved/{number}").version == number
    people.set_registered_model_alias("moved", "champion", "1")
    file = write_settings(tmp_path / "tidemill.yaml", "moved", "http://127.0.0.1:9/v1")
    overrides = {"TIDEMILL_DATA_DIR": str(tmp_path), "TIDEMILL_MLFLOW__URL": mlflow}
    settings = load_settings(file, overrides)
    arm = Arm(variant="champion", model_version="moved-v1", model="base", engine="local", weight=100)
    route = Route(pipeline="moved", epoch=1, time_ms=NOW, arms=(arm,))
    state = RolloutState(
        rollout_id="r",
        seq=1,
        time_ms=NOW,
        pipeline="moved",
        phase="canary",
        reason="by order",
        candidate_version="moved-v2",
        candidate_adapter_dir="",
        champion_version="moved-v1",
        registered_name="moved",
        step_started_ms=NOW,
        created_ms=NOW,
    )

    def kept(*states: RolloutState) -> dict[str, str]:
        """The aliases after a look of a keeper that has just been started."""
        keeper = Keeper(settings, Registry(mlflow), CLOCK)
        keeper.see({"moved": route}, {state.rollout_id: state for state in states}, {})
        keeper.keep()
        aliases: dict[str, str] = people.get_registered_model("moved").aliases
        return aliases

    assert kept() == {"champion": "1"} and orders.waiting(settings) == []
    people.set_registered_model_alias("moved", "champion", "2")
    assert kept() == kept() == {"champion": "1"}
    ((_, order),) = orders.waiting(settings)
    assert order is not None and (order.act, order.version) == ("start", "moved-v2")
    assert kept(state) == {"champion": "1", "candidate": "2", "canary": "2"}
    Registry(mlflow).promote(replace(state, phase="promoting"))
    route = replace(route, arms=(replace(arm, model_version="moved-v2"),))
    assert kept(replace(state, phase="champion")) == {"champion": "2", "previous": "1"}
    assert people.get_model_version("moved", "2").tags["tidemill.rollout"] == "champion"
    assert len(orders.waiting(settings)) == 1


def test_a_declared_version_that_serves_is_told_by_mlflow_and_by_its_lineage(
    stack_settings: Settings, store: StoreProcess, mlflow: str, tmp_path: Path
) -> None:
    """MLflow numbers versions itself, so that none of its can be 1001; the truth is in the registered model's tags."""
    name = "declaring"
    write_models(tmp_path / "data" / "models")
    file = write_settings(tmp_path / "tidemill.yaml", name, "http://127.0.0.1:9/v1")
    said = yaml.safe_load(file.read_text())
    base = tmp_path / "data" / "models" / "base"
    write_json(base / "derived.json", {"made_by": "quantize", "digest": adapter.base_digest(base)})
    said["engines"]["green"] = {"url": "http://127.0.0.1:9/v1", "base_model": "int8", "base_dir": str(base)}
    said["pipelines"][name]["versions"] = {f"{name}-v1001": {"kind": "model", "engine": "green"}}
    file.write_text(yaml.safe_dump(said))
    overrides = {
        "TIDEMILL_DATA_DIR": str(tmp_path / "data"),
        "TIDEMILL_MLFLOW__URL": mlflow,
        "TIDEMILL_CLICKHOUSE__URL": store.url,
        "TIDEMILL_CLICKHOUSE__DATABASE": "declaring",
    }
    settings = load_settings(file, overrides)
    Store(settings).migrate()
    people = registry.client(settings)

    def served(version: str, phase: RolloutPhase) -> dict[str, str]:
        """MLflow's tags after a look of a keeper; ``version`` serves, v1001 is in this phase of its rollout."""
        arm = Arm(variant="champion", model_version=version, model="m", engine="green", weight=100)
        state = RolloutState(
            rollout_id="r1001",
            seq=1,
            time_ms=NOW,
            pipeline=name,
            phase=phase,
            reason="by order",
            candidate_version=f"{name}-v1001",
            candidate_adapter_dir="",
            champion_version=f"{name}-v1",
            registered_name=name,
            step_started_ms=NOW,
            created_ms=NOW,
        )
        keeper = Keeper(settings, Registry(mlflow), CLOCK)
        keeper.see({name: Route(pipeline=name, epoch=1, time_ms=NOW, arms=(arm,))}, {"r1001": state}, {})
        keeper.keep()
        tags: dict[str, str] = people.get_registered_model(name).tags
        return {key.removeprefix(DECLARED_TAG): each for key, each in tags.items() if key.startswith(DECLARED_TAG)}

    what, version = "model int8 on the engine green", f"{name}-v1001"
    assert served(f"{name}-v1", "pending") == {"candidate": version, "candidate.is": what}, "it is made where it is not"
    registry.ensure_champion(settings, name)  # as the first retraining does
    canary = served(f"{name}-v1", "canary")
    assert canary == {"canary": version, "canary.is": what, "candidate": version, "candidate.is": what}
    assert people.get_registered_model(name).aliases == {"champion": "1"}
    assert served(version, "champion") == {"champion": version, "champion.is": what}
    assert people.get_registered_model(name).aliases == {"previous": "1"} and orders.waiting(settings) == []

    looker = Looker(settings, Store(settings))
    found = looker.lineage(version)
    assert isinstance(found, VersionLineage) and found.declared is not None and looker.unasked == ""
    assert (found.declared.what, found.declared.intact, found.declared.made["made_by"]) == (what, True, "quantize")
    assert found.registered is not None and found.registered.aliases == ["champion"]
    assert served(f"{name}-v1", "rolled_back") == {}
    assert people.get_registered_model(name).aliases == {"champion": "1"}
