"""What a launcher is: it starts work that outlives the controller, finds it again, and ends it.

Twice at once is impossible, forgotten is impossible: each try is written into the work's folder before it starts, under
a number that whoever comes later reads there, too; and while it lasts it holds the folder's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tidemill.errors import TidemillError
from tidemill.settings.launching import LauncherSettings


class LauncherAway(TidemillError):
    """A launcher cannot do it now: the disk is full, the cluster does not answer. Other jobs go on; ask again."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work: a module, its spec, and where both live."""

    name: str
    folder: Path
    module: str
    spec: dict[str, Any]
    result: Path
    """The file whose being there means done."""
    deployment: str = ""
    """Whose it is; other deployments may have work of the same job, and use the same cluster."""
    nice: int = 10
    threads: int = 1
    heavy: bool = False
    """It holds what ``on`` says, where ``on`` says; other work runs beside the controller and holds nothing."""
    on: LauncherSettings = field(default_factory=LauncherSettings)
    limit_s: float = 0
    """A try that takes longer is ended, and the work refused; 0: it may take for ever."""

    @property
    def gpus(self) -> int:
        """GPUs that it holds."""
        return self.on.gpus if self.heavy else 0


@dataclass(frozen=True, kw_only=True)
class WorkSeen:
    """What can be seen of a piece of work now.

    ``ended`` means: it was started, is not running, and left no result.
    """

    state: Literal["absent", "running", "done", "ended"]
    attempts: int = 0
    in_vain: int = 0
    """Tries in a row, the last one included, that began where the work still stands: no checkpoint has come since."""
    pid: int = 0
    """Process group on this machine; 0 on a cluster."""
    started_ms: int | None = None
    """When the last try began to work; None while it waits for GPUs, memory or the cluster."""
    ran_s: float | None = None
    """Seconds that the last try has worked, by a clock that nobody sets; None: not told."""
    ended_ms: int | None = None
    """The last sign of life of the last try."""
    gpu_seconds: float = 0.0
    """GPUs held times seconds, over all tries, as far as measured (to the second)."""
    result: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    """The latest progress line."""
    last_words: str = ""

    def took_s(self, now_ms: int) -> float:
        """Seconds that the last try, which still runs, has worked."""
        by_wall = 0.0 if self.started_ms is None else (now_ms - self.started_ms) / 1000
        return by_wall if self.ran_s is None else self.ran_s


class Launcher(Protocol):
    """Starts, watches and ends work. Not safe to share between threads; each call may raise LauncherAway."""

    def look(self, folder: Path, result: Path) -> WorkSeen:
        """What can be seen of the work in ``folder``; never waits for the work."""
        ...

    def start(self, work: Work, now_ms: int) -> None:
        """Start the work; does nothing where it runs already or is done. A result that cannot be read is none (as for
        ``look``): the work is done again.
        """
        ...

    def stop(self, folder: Path) -> None:
        """End the work and whatever it started; does nothing where none runs. It may be called again."""
        ...
