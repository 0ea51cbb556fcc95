"""From figures to troubles, with hysteresis: beyond one threshold for long enough, until back past the other. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from streams.host.machine import Figures
from tidemill.metrics import HostMetric
from tidemill.settings.host import HostSettings
from tidemill.troubles import LONGEST_NAME, Trouble

HOST_DISK, HOST_MEMORY, ENGINE_WAITING = "host_disk", "host_memory", "engine_waiting"
ENGINE_UNREACHABLE = "engine_unreachable"
LEVEL_RULES = (HOST_DISK, HOST_MEMORY, ENGINE_WAITING)


class Level(NamedTuple):
    """One rule on a figure."""

    rule: str
    figure: HostMetric
    above: float
    leave: float
    for_s: float
    words: str
    """How the figure is told, with the value as ``{0}`` and the threshold as ``{1}``."""


def levels(settings: HostSettings) -> tuple[Level, ...]:
    """The rules of the settings."""
    disk, memory, waiting = (
        (settings.disk_above, settings.disk_leave, settings.for_s),
        (settings.memory_above, settings.memory_leave, settings.for_s),
        (settings.waiting_above, settings.waiting_leave, settings.for_s),
    )
    return (
        Level(HOST_DISK, "disk_share", *disk, "{0:.0%} of the disk of data_dir is in use, above {1:.0%}"),
        Level(HOST_MEMORY, "memory_share", *memory, "{0:.0%} of the memory is in use, above {1:.0%}"),
        Level(ENGINE_WAITING, "requests_waiting", *waiting, "{0:.0f} requests wait in the queue, above {1:g}"),
    )


def metric_of(figure: str, where: str) -> str:
    """The metric's name in an alarm: ``disk_share/<host>``, ``requests_waiting/<engine>``."""
    return f"{figure}/{where}"[:LONGEST_NAME]


class Breaches:
    """Remembers since when each figure is beyond its threshold, and which alarm."""

    def __init__(self, settings: HostSettings, alarming: Collection[str] = ()) -> None:
        """``alarming``: metrics (as ``metric_of``) whose alarm is open already."""
        self._levels = levels(settings)
        self._since_ms: dict[str, int] = {}
        self._alarming = set(alarming)

    def judge(self, where: str, figures: Figures, now_ms: int) -> list[Trouble]:
        """The troubles of one host or engine now; of a figure that is missing nothing is known (``undecided``)."""
        judged = (self._one(level, where, figures, now_ms) for level in self._levels if level.figure in figures)
        return [trouble for trouble in judged if trouble is not None]

    def undecided(self, where: str, figures: Figures) -> list[str]:
        """Metrics of open alarms of which these figures say nothing."""
        metrics = (metric_of(level.figure, where) for level in self._levels if level.figure not in figures)
        return [metric for metric in metrics if metric in self._alarming]

    def _one(self, level: Level, where: str, figures: Figures, now_ms: int) -> Trouble | None:
        value, metric = figures[level.figure], metric_of(level.figure, where)
        if value > (level.leave if metric in self._alarming else level.above):
            since_ms = self._since_ms.setdefault(metric, now_ms)
            if metric in self._alarming or now_ms - since_ms >= level.for_s * 1000:
                self._alarming.add(metric)
                return Trouble(
                    rule=level.rule,
                    metric=metric,
                    value=round(value, 4),
                    threshold=level.above,
                    since_ms=since_ms,
                    cause=str(since_ms),
                    summary=f"{where}: {level.words.format(value, level.above)}",
                )
        else:
            self._since_ms.pop(metric, None)
            self._alarming.discard(metric)
        return None


class Reach:
    """Remembers when each engine last answered."""

    def __init__(self, unreachable_s: float, now_ms: int, alarming: Collection[str] = ()) -> None:
        """``alarming``: engines whose alarm is open: they were heard of before, too long ago."""
        self._unreachable_s = unreachable_s
        self._heard_ms = dict.fromkeys(alarming, now_ms - round(unreachable_s * 1000) - 1)

    def judge(self, engine: str, answers: bool, now_ms: int) -> list[Trouble]:
        """The trouble with an engine that was heard of and has been away for too long."""
        if answers:
            self._heard_ms[engine] = now_ms
        heard_ms = self._heard_ms.get(engine)
        if heard_ms is None or now_ms - heard_ms <= self._unreachable_s * 1000:
            return []
        silent_s = (now_ms - heard_ms) / 1000
        return [
            Trouble(
                rule=ENGINE_UNREACHABLE,
                metric=metric_of("unreachable", engine),
                value=round(silent_s, 1),
                threshold=self._unreachable_s,
                since_ms=heard_ms,
                cause=str(heard_ms),
                summary=f"{engine}: the engine has not answered for {silent_s:.0f} s",
            )
        ]
