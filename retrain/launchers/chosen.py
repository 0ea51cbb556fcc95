"""The launcher of each piece of work: heavy work goes where its pipeline's settings say, the rest runs beside us.

What runs already is looked at, and stopped, where it was started, whatever the settings say by now.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from retrain.launchers import folder as places
from retrain.launchers.cluster import ClusterLauncher
from retrain.launchers.kubernetes import KubernetesCluster
from retrain.launchers.launcher import Launcher, LauncherAway, Work, WorkSeen
from retrain.launchers.local import LocalLauncher
from retrain.launchers.ray import RayCluster


class ChosenLauncher:
    """A `Launcher` that hands each piece of work to the one it belongs to."""

    def __init__(self, now_ms: Callable[[], int], local: Launcher | None = None) -> None:
        self._now_ms = now_ms
        self._known: dict[tuple[str, str], Launcher] = {("local", ""): local or LocalLauncher()}

    def look(self, folder: Path, result: Path) -> WorkSeen:
        """As the launcher says that started the last try."""
        return self._of(folder).look(folder, result)

    def start(self, work: Work, now_ms: int) -> None:
        """Start it where its settings say; a try that is not over yet stays where it is."""
        started = self._of(work.folder)
        if started.look(work.folder, work.result).state in ("running", "done"):
            return
        kind = work.on.kind if work.heavy else "local"
        at = {"ray": work.on.url.rstrip("/"), "kubernetes": work.on.kubernetes.namespace}.get(kind, "")
        self._launcher(kind, at).start(work, now_ms)

    def stop(self, folder: Path) -> None:
        """End it where it was started."""
        self._of(folder).stop(folder)

    def _of(self, folder: Path) -> Launcher:
        tries = places.attempts(folder)
        return self._launcher(tries[-1].launcher, tries[-1].at) if tries else self._launcher("local", "")

    def _launcher(self, kind: str, at: str) -> Launcher:
        if (kind, at) not in self._known:
            self._known[kind, at] = ClusterLauncher(_cluster(kind, at), self._now_ms)
        return self._known[kind, at]


def _cluster(kind: str, at: str) -> RayCluster | KubernetesCluster:
    if kind == "ray":
        return RayCluster(at)
    if kind == "kubernetes":
        return KubernetesCluster(at)
    raise LauncherAway(f"a try was started by the launcher {kind!r}, which is not known here; run the newer tidemill")
