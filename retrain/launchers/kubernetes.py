"""RayJobs of KubeRay, through ``kubectl``: Kubernetes refuses a name that it knows, so no job runs twice.

KubeRay makes a Ray cluster for each job and takes it down afterwards; what it should look like is `manifest`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from retrain.launchers.cluster import Told
from retrain.launchers.launcher import LauncherAway, Work
from retrain.launchers.ray import command

TIMEOUT_S = 20.0
GRACE_S = 600
"""Beside the work's own limit: for nodes and images to come."""
GPU = "nvidia.com/gpu"
SPOT = "tidemill.dev/spot"
_OVER = ("Complete", "Failed", "Suspended")


class KubernetesCluster:
    """A `Cluster` of RayJobs in one namespace. ``kubectl`` takes the cluster and who we are from its own settings."""

    kind = "kubernetes"

    def __init__(self, namespace: str, kubectl: str = "kubectl") -> None:
        self.at = namespace
        self._kubectl = kubectl

    def submit(self, name: str, work: Work) -> None:
        """Create the RayJob; one that is there already is left as it is. Raises LauncherAway."""
        made = msgspec.json.encode(manifest(name, work))
        done = self._run(["create", "-f", "-"], made)
        if done.returncode != 0 and "AlreadyExists" not in done.stderr:
            raise LauncherAway(f"Kubernetes does not take {name}: {done.stderr.strip()[-300:]}")

    def told(self, name: str) -> Told:
        """Where the RayJob stands. Raises LauncherAway."""
        done = self._run(["get", "rayjob", name, "-o", "json"])
        if done.returncode != 0:
            if "NotFound" in done.stderr:
                return Told("unknown")
            raise LauncherAway(f"Kubernetes does not tell of {name}: {done.stderr.strip()[-300:]}")
        return status(msgspec.json.decode(done.stdout).get("status") or {})

    def logs(self, name: str) -> str:
        """The log of the RayJob's submitter, while it is there. Raises LauncherAway."""
        done = self._run(["logs", f"job/{name}", "--tail", "200"])
        return done.stdout if done.returncode == 0 else ""

    def stop(self, name: str) -> None:
        """Delete the RayJob, and its cluster with it. Raises LauncherAway."""
        done = self._run(["delete", "rayjob", name, "--ignore-not-found", "--wait=false"])
        if done.returncode != 0:
            raise LauncherAway(f"Kubernetes does not stop {name}: {done.stderr.strip()[-300:]}")

    def _run(self, arguments: list[str], given: bytes = b"") -> subprocess.CompletedProcess[str]:
        if shutil.which(self._kubectl) is None:
            message = "retrain.launcher.kind: kubernetes needs kubectl on the controller's PATH, and it is not there"
            raise LauncherAway(f"{message}; install it, or choose kind: local or ray")
        full = [self._kubectl, "--namespace", self.at, *arguments]
        try:
            return subprocess.run(
                full, input=given.decode(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LauncherAway(f"Kubernetes has not answered within {TIMEOUT_S:g} s") from error


def status(found: dict[str, Any]) -> Told:
    """What a RayJob's status says; KubeRay's own state (of the cluster it makes) counts once it is final."""
    of_job, of_deployment = str(found.get("jobStatus") or ""), str(found.get("jobDeploymentStatus") or "")
    words = " ".join(str(found.get("message") or found.get("reason") or "").split())[:260]
    if of_job in ("SUCCEEDED", "FAILED", "STOPPED") or of_deployment in _OVER:
        return Told("over", f"{of_job or of_deployment}: {words}")
    if of_job == "RUNNING":
        return Told("running")
    return Told("waiting", f"Kubernetes: {words or of_deployment or 'the RayJob waits for its cluster'}")


def manifest(name: str, work: Work) -> dict[str, Any]:
    """The RayJob that runs the work once: a head without GPUs, and one worker that holds exactly what is asked for."""
    on, own = work.on, work.on.kubernetes
    spec: dict[str, Any] = {
        "jobId": name,
        "entrypoint": command(work, on.python or "python"),
        "entrypointNumCpus": on.cpus,
        "entrypointNumGpus": work.gpus,
        "backoffLimit": 0,
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": {
            "rayVersion": own.ray_version,
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
                "template": _pod("ray-head", work, {"cpu": "1", "memory": "2G"}, spot=False),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "worker",
                    "replicas": 1,
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "rayStartParams": {"num-gpus": str(work.gpus)},
                    "template": _pod("ray-worker", work, _held(work), spot=own.spot),
                }
            ],
        },
    }
    if work.limit_s:
        spec["activeDeadlineSeconds"] = int(work.limit_s + on.max_wait_s) + GRACE_S
    labels = {"app.kubernetes.io/managed-by": "tidemill", "tidemill.dev/work": work.name}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": own.namespace, "labels": labels},
        "spec": spec,
    }


def _held(work: Work) -> dict[str, str]:
    resources = {"cpu": f"{work.on.cpus:g}"}
    if work.on.memory_gb:
        resources["memory"] = f"{int(work.on.memory_gb * 1e9)}"
    if work.gpus:
        resources[GPU] = str(work.gpus)
    return resources


def _pod(container: str, work: Work, resources: dict[str, str], *, spot: bool) -> dict[str, Any]:
    own, data = work.on.kubernetes, str(data_dir(work))
    pod: dict[str, Any] = {
        "containers": [
            {
                "name": container,
                "image": own.image,
                "resources": {"requests": resources, "limits": resources},
                "volumeMounts": [{"name": "data", "mountPath": data}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": own.volume_claim}}],
    }
    if spot:
        pod["tolerations"] = [{"key": SPOT, "operator": "Exists"}]
    return {"spec": pod}


def data_dir(work: Work) -> Path:
    """The folder that controller and workers share: above ``jobs/<job>/<work>``."""
    return work.folder.parents[2]
