"""Ray Jobs over its HTTP interface; nothing of Ray is imported here.

Ray refuses a submission id that it knows, whatever has become of it: that is what no job runs twice by. It tries
nothing again by itself, and fails a job that has waited for its GPUs longer than RAY_JOB_START_TIMEOUT_SECONDS (a
setting of the cluster, 900): raise it there.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import httpx

from retrain.launchers.cluster import Told
from retrain.launchers.launcher import LauncherAway, Work

TIMEOUT_S = 10.0
ROOT = Path(__file__).parents[2]
_KNOWN = "already exists"


class RayCluster:
    """A `Cluster` of Ray, by the address of its dashboard."""

    kind = "ray"

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self.at = url.rstrip("/")
        self._http = client or httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def submit(self, name: str, work: Work) -> None:
        """Submit once: a name that Ray knows is left as it is. Raises LauncherAway."""
        answer = self._ask("POST", "/api/jobs/", json=submission(name, work))
        if answer.status_code not in (200, 201) and _KNOWN not in answer.text:
            raise LauncherAway(f"Ray at {self.at} does not take {name}: {answer.status_code} {answer.text[-300:]}")

    def told(self, name: str) -> Told:
        """Where the job stands. Raises LauncherAway."""
        answer = self._ask("GET", f"/api/jobs/{name}")
        if answer.status_code == 404:
            return Told("unknown")
        found = self._json(answer)
        status, message = str(found.get("status", "")), str(found.get("message") or "")
        if status == "PENDING":
            return Told("waiting", f"Ray: {message[:200] or 'the job waits for resources'}")
        if status in ("RUNNING", ""):
            return Told("running")
        return Told("over", f"{status}: {' '.join(message.split())[:260]}")

    def logs(self, name: str) -> str:
        """The job's log as Ray keeps it. Raises LauncherAway."""
        answer = self._ask("GET", f"/api/jobs/{name}/logs")
        return str(self._json(answer).get("logs", "")) if answer.status_code == 200 else ""

    def stop(self, name: str) -> None:
        """Ask Ray to end the job; it ends a moment later. Raises LauncherAway."""
        answer = self._ask("POST", f"/api/jobs/{name}/stop")
        if answer.status_code not in (200, 404):
            raise LauncherAway(f"Ray at {self.at} does not stop {name}: {answer.status_code} {answer.text[-300:]}")

    def _ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            return self._http.request(method, self.at + path, **rest)
        except httpx.HTTPError as error:
            raise LauncherAway(f"Ray at {self.at} (retrain.launcher.url) does not answer: {error}") from error

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise LauncherAway(f"Ray at {self.at} answers {answer.status_code}: {answer.text[:200]}") from error
        return found if isinstance(found, dict) else {}


def submission(name: str, work: Work) -> dict[str, Any]:
    """The body that submits the work: what it is called, what it runs, what it holds."""
    resources: dict[str, Any] = {"entrypoint_num_cpus": work.on.cpus}
    if work.gpus:
        resources["entrypoint_num_gpus"] = work.gpus
    if work.on.memory_gb:
        resources["entrypoint_memory"] = int(work.on.memory_gb * 1e9)
    return resources | {
        "submission_id": name,
        "entrypoint": command(work, work.on.python or sys.executable),
        "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}} if not work.on.python else {},
        "metadata": {"tidemill_work": work.name, "tidemill_folder": str(work.folder)},
    }


def command(work: Work, python: str) -> str:
    """The command line of the work's attendant."""
    return shlex.join([python, "-m", "retrain.launchers.attend", str(work.folder)])
