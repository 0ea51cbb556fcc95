"""The retraining controller on a real broker, store and registry, with real training; killed in the middle.

The engine is the echo one (the real one runs in the loop suite), so the comparison with it is set to accept anything.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from retrain import adapter, places, registry
from retrain.controller import works
from retrain.controller.advance import COLLECTING, WORKS
from retrain.launchers import folder as launched
from retrain.policy import job_id_of
from retrain.snapshot import SnapshotSpec, take
from retrain.work import Refused, save_settings
from tests.integration.fake_engine import FakeEngine
from tests.integration.retrain_world import (
    CLOCK,
    Jobs,
    LabelledCalls,
    alarm,
    decisions,
    make_base,
    write_models,
    write_settings,
)
from tests.integration.role_process import Role, environment_of
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill.errors import Retry
from tidemill.events import JobState
from tidemill.evidence import evidence_file
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings, load_settings

LONG = (COLLECTING, "train", "evaluate")
"""What a job waits for longest; the simulation kills the controller in every state."""


@pytest.fixture(scope="module")
def real_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that can be trained on."""
    return make_base(tmp_path_factory.mktemp("models"))


@dataclass
class Deployed:
    """One deployment with one pipeline."""

    pipeline: str
    settings: Settings
    file: Path
    engine: FakeEngine
    calls: LabelledCalls

    def role(self) -> Role:
        return Role("retrain", self.settings, environment_of(self.settings), file=self.file)


@pytest.fixture
def deployed(
    stack_settings: Settings, store: StoreProcess, tmp_path: Path, unique: Callable[[str], str]
) -> Iterator[Deployed]:
    engine = FakeEngine(set())
    name = unique("plans")
    data = tmp_path / "data"
    write_models(data / "models")
    file = write_settings(tmp_path / "tidemill.yaml", name, engine.url)
    overrides = {
        "TIDEMILL_DATA_DIR": str(data),
        "TIDEMILL_LOCAL__PORT_BASE": str(stack_settings.local.port_base),
        "TIDEMILL_CLICKHOUSE__URL": store.url,
        "TIDEMILL_CLICKHOUSE__DATABASE": name.replace("-", "_"),
        "TIDEMILL_DEPLOYMENT": name,
    }
    settings = load_settings(file, overrides)
    Store(settings).migrate()
    yield Deployed(name, settings, file, engine, LabelledCalls(Store(settings), name))
    engine.close()


@pytest.mark.timeout(600)
def test_from_alarm_to_version_with_the_controller_killed_in_every_long_state_and_the_trainer_too(
    deployed: Deployed, kafka: str, mlflow: str, real_base: Path
) -> None:
    name, settings = deployed.pipeline, deployed.settings
    shutil.rmtree(places.base_dir(settings, name))
    places.base_dir(settings, name).symlink_to(real_base)
    now = CLOCK.now_ms()
    jobs, event = Jobs(settings, name), alarm(name, f"alarm-{name}", now - 100_000, now)
    found = evidence_file(settings.data_dir, event.data.alarm_id)

    def runs(waited_for: str) -> bool:
        """It is collecting, or this piece of its work runs (the trainer is known to the log)."""
        states = jobs.look()
        if not states or waited_for == COLLECTING:
            return bool(states)
        held = launched.is_held(works.folder_of(settings, states[-1].job_id, waited_for))
        return held and (waited_for != "train" or states[-1].trainer_pid > 0)

    for waited_for in LONG:
        jobs.send(event)  # at least once: the same alarm again is the same job
        with deployed.role().start() as role:
            role.until(lambda what=waited_for: runs(what), within_s=120, what=f"{waited_for} is under way")  # type: ignore[misc]
            if waited_for == "train":
                os.killpg(jobs.states[-1].trainer_pid, signal.SIGKILL)
            role.kill()
        if waited_for == COLLECTING:
            deployed.calls.write("plain", 120, now - 200_000, now - 101_000)
            deployed.calls.write("words", 120, now - 100_000, now - 1_000)
            found.parent.mkdir()
            found.write_text("made while the job was under way")  # its report is not: no failure

    with deployed.role().start() as second:
        last = until(lambda: _ended(jobs), within_s=300, what=f"the job ends: {jobs.states[-1:]}")
        assert second.stop() == 0
    tries = {work: len(launched.attempts(works.folder_of(settings, last.job_id, work))) for work in WORKS}
    assert tries == {**dict.fromkeys(WORKS, 1), "train": 2}, "nothing ran twice but the trainer that was killed"

    assert last.phase == "registered", last.reason
    assert {state.job_id for state in jobs.states} == {job_id_of(event.data.alarm_id)}
    assert [state.seq for state in jobs.states] == list(range(len(jobs.states)))
    assert (last.candidate_version, last.registered_name) == (f"{name}-v2", name)
    assert last.figures["train_attempts"] == 2
    assert [station.station for station in last.stations] == ["watch", "alarm", "data", "train", "gate"]
    outcomes = {v.check: v.outcome for v in last.verdicts}
    assert (outcomes["integrity"], outcomes["suite.forms"], outcomes["parity"]) == ("pass", "pass", "pass")
    files = registry.client(settings).list_artifacts(last.run_id, registry.GATE)
    assert {Path(file.path).name for file in files} == {"report.html", "report.json"}
    assert "suite.forms" in (places.report_dir(settings, last.job_id) / "report.html").read_text(encoding="utf-8")
    alarms = registry.client(settings).list_artifacts(last.run_id, registry.EVIDENCE)
    assert [Path(file.path).name for file in alarms] == [found.name]
    assert Path(last.adapter_dir) == places.version_dir(settings, f"{name}-v2")
    assert adapter.problems(Path(last.adapter_dir), digest=last.adapter_digest, rank=4) == []
    assert deployed.engine.loaded == set()  # the temporary adapter is gone
    version = registry.client(settings).get_model_version_by_alias(name, registry.CANDIDATE)
    assert (version.version, version.tags["tidemill.data_digest"]) == ("2", last.data_digest)
    assert version.tags["tidemill.alarm_id"] == event.data.alarm_id
    losses = registry.client(settings).get_metric_history(last.run_id, "loss")
    assert losses[-1].step == 6
    inputs = registry.client(settings).get_run(last.run_id).inputs.dataset_inputs
    assert {(each.dataset.name, each.dataset.digest) for each in inputs} == {
        (f"{name}-{part}", last.data_digest[:36]) for part in ("train", "verified")
    }
    jobs.close()
    (said,) = decisions(settings, name)
    assert (said.act, said.trigger, said.trigger_id) == ("open", "quality", event.data.alarm_id)
    assert said.job_id == last.job_id and said.signals["loss"] == pytest.approx(0.7), "each once, over two controllers"


def _ended(jobs: Jobs) -> JobState | None:
    states = jobs.look()
    return states[-1] if states and states[-1].phase in ("registered", "rejected", "failed", "declined") else None


def test_a_snapshot_is_the_same_whenever_it_is_taken(deployed: Deployed) -> None:
    now = CLOCK.now_ms()
    deployed.calls.write("plain", 120, now - 200_000, now - 101_000)
    deployed.calls.write("words", 120, now - 100_000, now - 1_000)
    spec = _spec(deployed, now - 100_000, now)
    first, second = take(spec), take(spec)
    assert first == second
    counts = first["counts"]
    assert (counts["fresh_labels"], counts["older_labels"]) == (120, 120)
    assert counts["replay"] == counts["fresh_train"] or counts["replay"] < 120
    assert counts["verified"] >= 5
    assert counts["train_labels"] == counts["train"]
    manifest = msgspec.json.decode((Path(first["folder"]) / "manifest.json").read_bytes())
    assert manifest["origins"]["sources"]["audit"] | {"labels": 0, "train": 0} == {
        **{"labels": 0, "train": 0, "compared": 0, "contradicted": 0, "left_out": False},
        **{"trusted": True, "licence": "CC-BY-4.0"},
    }
    (place,) = manifest["offsets"]
    assert (place["query"], place["first_offset"], place["last_offset"]) == ("labelled_calls", 0, 119)
    assert place["messages"] == 240
    assert list(manifest["queries"]) == ["labelled_calls"] and "query" not in manifest
    folder = Path(first["folder"])
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "train.jsonl", "verified.jsonl"]


def test_a_label_that_comes_later_changes_no_snapshot(deployed: Deployed) -> None:
    now = CLOCK.now_ms()
    deployed.calls.write("words", 120, now - 100_000, now - 1_000)
    everything = take(_spec(deployed, now - 100_000, now))
    earlier = take(_spec(deployed, now - 100_000, now - 1_500))
    assert everything["counts"]["fresh_labels"] == 120
    assert earlier["counts"]["fresh_labels"] == 119, (
        "the last call was made before that, and labelled half a second later"
    )


def test_too_few_labels_are_refused(deployed: Deployed) -> None:
    now = CLOCK.now_ms()
    deployed.calls.write("words", 10, now - 100_000, now - 1_000)
    with pytest.raises(Refused, match=r"10 distinct labelled prompts.*retrain\.floor_labels = 20"):
        take(_spec(deployed, now - 100_000, now))


def test_a_store_that_is_away_is_waited_for(deployed: Deployed) -> None:
    away = deployed.settings.clickhouse.model_copy(update={"url": "http://127.0.0.1:9"})
    deployed.settings = deployed.settings.model_copy(update={"clickhouse": away})
    with pytest.raises(Retry, match="does not answer"):
        take(_spec(deployed, 0, 1))


def test_the_registry_numbers_what_passed_and_keeps_what_did_not(
    deployed: Deployed, mlflow: str, tmp_path: Path
) -> None:
    settings, name = deployed.settings, deployed.pipeline
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / adapter.WEIGHTS).write_bytes(b"weights")
    (folder / adapter.CONFIG).write_text("{}")
    assert [registry.ensure_champion(settings, name) for _ in range(2)] == [f"{name}-v1"] * 2
    given: dict[str, Any] = {"tags": {"tidemill.verdict": "rejected"}, "params": {"rank": "4"}, "metrics": {"x": 0.5}}
    given["inputs"] = [registry.Input(name="p-train", context="training", digest="d" * 64, file="/rows", rows=3)]
    rejected = registry.log_run(settings, "job-1", name, **given, losses=[(1, 2.0)], adapter_dir=folder)
    assert registry.log_run(settings, "job-1", name, **given, losses=[(1, 2.0)], adapter_dir=folder) == rejected
    run = registry.log_run(settings, "job-2", name, **given, losses=[(1, 2.0)], adapter_dir=folder)
    (kept_input,) = registry.client(settings).get_run(rejected).inputs.dataset_inputs
    assert (kept_input.dataset.digest, kept_input.tags[0].value) == ("d" * 36, "training")
    versions = [registry.register(settings, name, run, "job-2", {"tidemill.verdict": "accepted"}) for _ in range(2)]
    assert versions == [f"{name}-v2"] * 2
    assert len(registry.client(settings).search_model_versions(f"name = '{name}'")) == 2
    kept = registry.keep(settings, folder, versions[0])
    assert registry.keep(settings, folder, versions[0]) == kept
    (folder / adapter.WEIGHTS).write_bytes(b"other weights")
    with pytest.raises(Exception, match="holds another adapter"):
        registry.keep(settings, folder, versions[0])


def test_a_registry_that_is_away_is_waited_for(deployed: Deployed) -> None:
    gone = deployed.settings.mlflow.model_copy(update={"url": "http://127.0.0.1:9"})
    with pytest.raises(Retry, match="MLflow"):
        registry.ensure_champion(deployed.settings.model_copy(update={"mlflow": gone}), deployed.pipeline)


def _spec(deployed: Deployed, change_ms: int, until_ms: int) -> SnapshotSpec:
    frozen = save_settings(deployed.settings, deployed.settings.data_dir)
    return SnapshotSpec(
        settings=str(frozen), job_id="job", pipeline=deployed.pipeline, change_ms=change_ms, until_ms=until_ms
    )
