"""Starts work on a cluster that refuses a name it knows, so that no try runs twice, whoever asks and however often.

``data_dir`` is the same folder on the controller and the workers: specs, results, checkpoints and logs go through it.

A start: 1. write the try down with its name; 2. submit it. A crash in between, or an answer that was lost, is made good
by submitting the same name again. A look asks the cluster only while a try is not known to be over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

from msgspec.structs import replace as changed

from retrain.launchers import folder as places
from retrain.launchers.folder import Attempt
from retrain.launchers.launcher import LauncherAway, Work, WorkSeen
from retrain.launchers.local import seen
from retrain.launchers.start import written
from retrain.whole import read_object
from tidemill.ids import derived_id

log = logging.getLogger(__name__)
POLL_MS = 2_000
"""A cluster is asked that often about one try."""

A = TypeVar("A")
_DEPLOYMENT_CHARS, _JOB_CHARS = 6, 19


class Told(NamedTuple):
    """What a cluster says of a name."""

    state: Literal["unknown", "waiting", "running", "over"]
    words: str = ""
    """While it waits or once it is over: why."""


class Cluster(Protocol):
    """What is asked of a cluster; each call raises LauncherAway when it does not answer."""

    kind: str
    at: str
    """Its address."""

    def submit(self, name: str, work: Work) -> None:
        """Run the work's attendant under this name; a name that is known already is left as it is."""
        ...

    def told(self, name: str) -> Told:
        """Where the name stands."""
        ...

    def logs(self, name: str) -> str:
        """What it has written; empty when that is gone."""
        ...

    def stop(self, name: str) -> None:
        """End it; does nothing where it is unknown or over."""
        ...


@dataclass
class _Away:
    """A cluster did not answer about the work in one folder."""

    at_ms: int
    folder: Path
    words: str
    others: bool = False
    """Whether other work has been held up by it; then that is asked about first."""


class ClusterLauncher:
    """A `Launcher` on a cluster. One that does not answer is asked again POLL_MS later, however much work it has."""

    def __init__(self, cluster: Cluster, now_ms: Callable[[], int]) -> None:
        self._cluster = cluster
        self._now_ms = now_ms
        self._asked: dict[Path, tuple[int, Told]] = {}
        self._away: _Away | None = None

    def look(self, folder: Path, result: Path) -> WorkSeen:
        """What can be seen of the work in ``folder``. Raises LauncherAway."""
        tries = places.attempts(folder)
        if not tries or tries[-1].over or read_object(result) is not None:
            return seen(folder, result, running=False)
        last = tries[-1]
        told = self._told(folder, last)
        if told.state == "unknown" and places.usage(folder, last.number) is None:
            return WorkSeen(state="absent", attempts=len(tries) - 1)  # written down and never submitted
        if told.state in ("unknown", "over"):
            self._note_over(folder, last, told.words or f"{self._cluster.kind} has lost {last.name}")
            return seen(folder, result, running=False)
        now = seen(folder, result, running=True)
        return now if told.state == "running" else replace(now, progress={"waiting": told.words})

    def start(self, work: Work, now_ms: int) -> None:
        """Start the work, unless it runs already or is done. Raises LauncherAway."""
        if read_object(work.result) is not None:
            return
        tries = places.attempts(work.folder)
        try:
            work.folder.mkdir(parents=True, exist_ok=True)
            begun = tries and not tries[-1].over
            attempt = tries[-1] if begun else written(work, self._next(work, now_ms))
        except OSError as error:
            raise LauncherAway(f"{work.name} cannot be started: {error}") from error
        self._asked.pop(work.folder, None)
        self._answered(work.folder, lambda: self._cluster.submit(attempt.name, work))
        log.info("%s submitted as %s", work.name, attempt.name, extra={"folder": str(work.folder)})

    def stop(self, folder: Path) -> None:
        """End the work. Raises LauncherAway."""
        tries = places.attempts(folder)
        if tries and not tries[-1].over:
            self._asked.pop(folder, None)
            self._answered(folder, lambda: self._cluster.stop(tries[-1].name))

    def _next(self, work: Work, now_ms: int) -> Attempt:
        number = places.next_number(work.folder)
        return Attempt(
            number=number,
            started_ms=now_ms,
            launcher=self._cluster.kind,
            at=self._cluster.at,
            name=name_of(work.deployment, work.folder, number),
            step=places.checkpoint_step(work.folder),
        )

    def _told(self, folder: Path, last: Attempt) -> Told:
        now = self._now_ms()
        asked = self._asked.get(folder)
        if asked is not None and _lately(asked[0], now):
            return asked[1]
        told = self._answered(folder, lambda: self._cluster.told(last.name))
        self._asked[folder] = (now, told)
        return told

    def _answered(self, folder: Path, ask: Callable[[], A]) -> A:
        """What the cluster answers. Raises LauncherAway, without asking where it did lately."""
        now, away = self._now_ms(), self._away
        if away is not None and _lately(away.at_ms, now, 2 if away.others and away.folder == folder else 1):
            away.others = away.others or away.folder != folder
            raise LauncherAway(away.words)
        try:
            answer = ask()
        except LauncherAway as error:
            self._away = _Away(now, folder, str(error))
            raise
        self._away = None
        return answer

    def _note_over(self, folder: Path, last: Attempt, words: str) -> None:
        """Keep what the cluster has to say: it may have forgotten it by tomorrow."""
        logs = "" if places.usage(folder, last.number) is not None else self._cluster.logs(last.name)
        with (folder / places.LOG).open("ab") as out:
            out.write(f"{logs.rstrip()}\n{last.name}: {words}\n".lstrip().encode())
        places.note_attempt(folder, changed(last, over=words[:300]))
        self._asked.pop(folder, None)


def _lately(then_ms: int, now_ms: int, polls: int = 1) -> bool:
    """Not where the clock was set back in between."""
    return 0 <= now_ms - then_ms < polls * POLL_MS


def name_of(deployment: str, folder: Path, number: int) -> str:
    """The name of a try: the same deployment, job, work and number have the same one, on every controller, and two
    deployments on one cluster never have. At most 47 characters of lower case, as Kubernetes wants them of a RayJob.
    """
    job = folder.parent.name[:_JOB_CHARS].lower().rstrip("-")
    return f"tm-{derived_id('deployment', deployment)[:_DEPLOYMENT_CHARS]}-{job}-{folder.name}-{number}"
