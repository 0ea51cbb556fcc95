"""What is asked of Ray and Kubernetes, and that a try is submitted under one name however often it is tried."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from retrain.controller import works
from retrain.launchers import folder as places
from retrain.launchers.attend import Attended
from retrain.launchers.chosen import ChosenLauncher
from retrain.launchers.cluster import POLL_MS, ClusterLauncher, Told, name_of
from retrain.launchers.folder import Usage
from retrain.launchers.kubernetes import GPU, KubernetesCluster, manifest, status
from retrain.launchers.launcher import LauncherAway, Work, WorkSeen
from retrain.launchers.ray import RayCluster, submission
from retrain.places import job_dir
from retrain.whole import read_object
from tests.unit.retrain.made import NOW, collecting, pipeline
from tidemill.clock import ManualClock
from tidemill.settings import Settings
from tidemill.settings.launching import KubernetesSettings, LauncherSettings
from tidemill.settings.model import EngineSettings

RAY = LauncherSettings(kind="ray", url="http://head:8265/", gpus=2, cpus=4, memory_gb=24, python="/opt/py/bin/python")
KUBERNETES = LauncherSettings(
    kind="kubernetes",
    gpus=2,
    cpus=4,
    memory_gb=24,
    kubernetes=KubernetesSettings(namespace="mills", image="registry/tidemill:1", volume_claim="mill-data", spot=True),
)


def work(data: Path, on: LauncherSettings, heavy: bool = True) -> Work:
    folder = data / "jobs" / "0123456789abcdef0123456789abcdef" / "train"
    made = Work(name="train", folder=folder, module="some.module", spec={"a": 1}, result=folder / "result.json")
    return replace(made, heavy=heavy, on=on, limit_s=900)


def test_ray_is_asked_for_exactly_what_the_settings_say(tmp_path: Path) -> None:
    body = submission("name-1", work(tmp_path, RAY))
    held = {key: value for key, value in body.items() if key.startswith("entrypoint_")}
    assert held == {"entrypoint_num_gpus": 2, "entrypoint_num_cpus": 4, "entrypoint_memory": 24_000_000_000}
    assert body["submission_id"] == "name-1"
    folder = f"{tmp_path}/jobs/0123456789abcdef0123456789abcdef/train"
    assert body["entrypoint"] == f"/opt/py/bin/python -m retrain.launchers.attend {folder}"
    assert "entrypoint_num_gpus" not in submission("name-1", work(tmp_path, RAY, heavy=False))


def test_kubernetes_is_asked_for_exactly_what_the_settings_say(tmp_path: Path) -> None:
    made = manifest("tm-1", work(tmp_path, KUBERNETES))
    assert (made["kind"], made["metadata"]["name"], made["metadata"]["namespace"]) == ("RayJob", "tm-1", "mills")
    spec = made["spec"]
    assert (spec["backoffLimit"], spec["shutdownAfterJobFinishes"], spec["jobId"]) == (0, True, "tm-1")
    assert spec["activeDeadlineSeconds"] >= 900
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (1, 1, 1)
    (worker,) = group["template"]["spec"]["containers"]
    resources = {"cpu": "4", "memory": "24000000000", GPU: "2"}
    assert worker["resources"] == {"requests": resources, "limits": resources}
    assert worker["volumeMounts"] == [{"name": "data", "mountPath": str(tmp_path)}]
    assert group["template"]["spec"]["tolerations"] == [{"key": "tidemill.dev/spot", "operator": "Exists"}]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert GPU not in head["containers"][0]["resources"]["limits"] and "tolerations" not in head


def test_only_work_that_loads_a_model_holds_what_the_launcher_says(tmp_path: Path) -> None:
    chosen = pipeline(retrain={"launcher": {"gpus": 2}})
    settings = Settings(data_dir=tmp_path, engines={"local": EngineSettings()}, pipelines={"schedule": chosen})
    job = collecting(data_digest="0123456789abcdef", figures={"since_ms": 1, "until_ms": 2})
    made = {name: works.work(settings, job, name, []) for name in ("snapshot", "train", "evaluate", "parity")}
    assert {name: each.gpus for name, each in made.items()} == {"snapshot": 0, "train": 2, "evaluate": 2, "parity": 0}
    assert {name for name, each in made.items() if each.limit_s == 900} == {"train", "evaluate", "parity"}


def test_names_fit_kubernetes_and_say_the_try(tmp_path: Path) -> None:
    folder = work(tmp_path, RAY).folder
    name = name_of("local", folder, 3)
    assert re.fullmatch(r"tm-[0-9a-f]{6}-0123456789abcdef012-train-3", name)
    assert len(name_of("local", folder.with_name("evaluate"), 99_999_999)) <= 47


def test_two_deployments_on_one_cluster_submit_two_names(tmp_path: Path) -> None:
    cluster = Sim()
    for deployment in ("production", "staging"):
        made = pipeline(retrain={"launcher": {"kind": "ray", "url": "http://head:8265"}})
        settings = Settings(
            data_dir=tmp_path / deployment,
            deployment=deployment,
            engines={"local": EngineSettings()},
            pipelines={"schedule": made},
        )
        job = collecting(job_id="0123456789abcdef" * 2, data_digest="0123456789abcdef", figures={"since_ms": 1})
        ClusterLauncher(cluster, Time()).start(works.work(settings, job, "train", []), NOW)
    assert len(set(cluster.submitted)) == 2


@dataclass
class Sim:
    """A cluster that refuses names it knows, and may lose an answer."""

    kind: str = "ray"
    at: str = "http://head:8265"
    known: dict[str, Told] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    answer_lost: bool = False
    asked: int = 0

    def submit(self, name: str, work: Work) -> None:
        if name not in self.known:
            self.submitted.append(name)
            self.known[name] = Told("running")
        if self.answer_lost:
            raise LauncherAway("the answer was lost")

    def told(self, name: str) -> Told:
        self.asked += 1
        return self.known.get(name, Told("unknown"))

    def logs(self, name: str) -> str:
        return "CUDA driver not found"

    def stop(self, name: str) -> None:
        self.known[name] = Told("over", "STOPPED: by order")


class Time:
    """Moves past the polling pause with each look."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        self.now += POLL_MS
        return self.now


def test_a_try_whose_answer_was_lost_is_not_submitted_twice(tmp_path: Path) -> None:
    cluster, made = Sim(answer_lost=True), work(tmp_path, RAY)
    for _ in range(3):
        with pytest.raises(LauncherAway):
            ClusterLauncher(cluster, Time()).start(made, NOW)
    cluster.answer_lost = False
    launcher = ClusterLauncher(cluster, Time())
    launcher.start(made, NOW)
    assert len(cluster.submitted) == 1 and launcher.look(made.folder, made.result).state == "running"


def test_a_try_that_was_written_down_and_never_submitted_is_submitted(tmp_path: Path) -> None:
    cluster, made = Sim(answer_lost=True), work(tmp_path, RAY)
    with pytest.raises(LauncherAway):
        ClusterLauncher(cluster, Time()).start(made, NOW)
    cluster.known.clear()
    launcher = ClusterLauncher(cluster, Time())
    assert launcher.look(made.folder, made.result) == WorkSeen(state="absent", attempts=0)
    cluster.answer_lost = False
    launcher.start(made, NOW)
    assert len(set(cluster.submitted)) == 1 and len(places.attempts(made.folder)) == 1


def test_a_lost_node_and_a_lost_cluster_end_the_try_and_the_next_one_has_another_name(tmp_path: Path) -> None:
    cluster, made = Sim(), work(tmp_path, RAY)
    launcher = ClusterLauncher(cluster, Time())
    launcher.start(made, NOW)
    cluster.known[cluster.submitted[0]] = Told("over", "FAILED: the node was lost")
    seen = launcher.look(made.folder, made.result)
    assert (seen.state, seen.attempts) == ("ended", 1) and "the node was lost" in seen.last_words
    assert "CUDA driver not found" in (made.folder / places.LOG).read_text()
    launcher.start(made, NOW)
    places.note_usage(made.folder, 2, Usage(begun_ms=NOW, ended_ms=NOW + 5_000, gpus=2))
    cluster.known.clear()
    seen = launcher.look(made.folder, made.result)
    assert (seen.state, seen.attempts, seen.gpu_seconds) == ("ended", 2, 10.0)
    assert "ray has lost" in seen.last_words and len(set(cluster.submitted)) == 2
    before = cluster.asked
    assert ClusterLauncher(cluster, Time()).look(made.folder, made.result).state == "ended"
    assert cluster.asked == before, "what is known to be over is not asked about"


def test_a_cluster_that_does_not_answer_is_asked_once_in_a_while_about_one_after_the_other(tmp_path: Path) -> None:
    class Dead(Sim):
        def told(self, name: str) -> Told:
            self.asked += 1
            if dead == "all" or dead in name:
                raise LauncherAway("it does not answer")
            return Told("running")

    clock, dead = ManualClock(NOW), "all"
    cluster = Dead()
    launcher = ClusterLauncher(cluster, clock.now_ms)
    works = [
        replace(made, folder=made.folder.with_name(f"work{n}")) for n in range(20) for made in [work(tmp_path, RAY)]
    ]
    for made in works:
        launcher.start(made, NOW)

    def looked() -> list[str]:
        return [state(made) for made in works]

    def state(made: Work) -> str:
        try:
            return launcher.look(made.folder, made.result).state
        except LauncherAway:
            return "away"

    for rounds in range(1, 4):
        assert set(looked()) == {"away"} and cluster.asked == rounds, "one request for 20 looks"
        clock.advance(POLL_MS)
    dead = "work0"
    found = []
    for _ in range(4):
        clock.advance(POLL_MS)
        found.append(looked())
    assert any(each[1:] == ["running"] * 19 for each in found), "what is amiss with one does not hide the others"


def test_what_was_heard_does_not_hold_longer_where_the_clock_is_set_back(tmp_path: Path) -> None:
    clock, cluster, made = ManualClock(NOW), Sim(), work(tmp_path, RAY)
    launcher = ClusterLauncher(cluster, clock.now_ms)
    launcher.start(made, NOW)
    assert launcher.look(made.folder, made.result).state == "running"
    cluster.known[cluster.submitted[0]] = Told("over", "FAILED")
    clock.advance(-3_600_000)
    assert launcher.look(made.folder, made.result).state == "ended"


def test_what_is_done_is_done_though_the_cluster_is_away(tmp_path: Path) -> None:
    cluster, made = Sim(), work(tmp_path, RAY)
    launcher = ClusterLauncher(cluster, Time())
    launcher.start(made, NOW)
    cluster.known.clear()
    made.result.write_text('{"fine": true}')
    assert launcher.look(made.folder, made.result).result == {"fine": True}
    launcher.start(made, NOW)
    assert len(cluster.submitted) == 1


def test_the_cluster_leases_not_the_attendant(tmp_path: Path) -> None:
    made = work(tmp_path, RAY)
    ClusterLauncher(Sim(), Time()).start(made, NOW)
    asked = read_object(made.folder / places.ATTEMPT) or {}
    assert set(asked) <= set(Attended.__struct_fields__)
    assert (asked["lease_dir"], asked["gpus"], asked["limit_s"]) == ("", 2, 900)


def test_a_try_is_looked_for_where_it_was_started_though_the_settings_changed(tmp_path: Path) -> None:
    made = work(tmp_path, RAY)
    ClusterLauncher(Sim(at="http://127.0.0.1:9"), Time()).start(made, NOW)
    with pytest.raises(LauncherAway, match=r"Ray at http://127\.0\.0\.1:9 \(retrain\.launcher\.url\) does not answer"):
        ChosenLauncher(Time()).start(replace(made, on=LauncherSettings()), NOW)


KUBECTL = """#!/bin/sh
echo "$@" >> {calls}
case "$*" in
  *create*) cat > {given}; echo 'Error from server (AlreadyExists): rayjobs "x" already exists' >&2; exit 1;;
  *get*) echo '{{"status": {{"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}}}}';;
  *delete*) exit 0;;
esac
"""


def test_kubectl_is_told_what_to_do_and_a_name_that_is_known_is_fine(tmp_path: Path) -> None:
    kubectl, given = tmp_path / "kubectl", tmp_path / "given"
    kubectl.write_text(KUBECTL.format(calls=tmp_path / "calls", given=given))
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    cluster = KubernetesCluster("mills", str(kubectl))
    cluster.submit("tm-1", work(tmp_path, KUBERNETES))
    assert read_object(given) == manifest("tm-1", work(tmp_path, KUBERNETES))
    assert cluster.told("tm-1") == Told("running")
    cluster.stop("tm-1")
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--namespace mills create -f -",
        "--namespace mills get rayjob tm-1 -o json",
        "--namespace mills delete rayjob tm-1 --ignore-not-found --wait=false",
    ]


def test_without_kubectl_the_way_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(LauncherAway, match=r"needs kubectl on the controller's PATH.*choose kind: local or ray"):
        KubernetesCluster("mills", str(tmp_path / "none")).told("tm-1")


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "waiting"),
        ({"jobDeploymentStatus": "Initializing"}, "waiting"),
        ({"jobStatus": "PENDING", "jobDeploymentStatus": "Running"}, "waiting"),
        ({"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}, "running"),
        ({"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Complete"}, "over"),
        ({"jobStatus": "", "jobDeploymentStatus": "Failed", "message": "DeadlineExceeded"}, "over"),
    ],
)
def test_what_kuberay_says_of_a_job(said: dict[str, Any], state: str) -> None:
    assert status(said).state == state


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "ray"}, "as http://ray-head:8265"),
        ({"kind": "kubernetes"}, "with kind: kubernetes"),
        ({"python": "python3"}, "'python3' is no absolute path"),
        ({"backoff_s": 9, "max_backoff_s": 3}, "3 is less than backoff_s = 9"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_way_out(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LauncherSettings.model_validate(given)


def test_a_ray_that_is_away_says_so() -> None:
    with pytest.raises(LauncherAway, match="does not answer"):
        RayCluster("http://127.0.0.1:9").told("x")


def test_jobs_live_three_folders_below_what_is_shared(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, engines={"local": EngineSettings()}, pipelines={"schedule": pipeline()})
    assert job_dir(settings, "j").parents[1] == tmp_path
