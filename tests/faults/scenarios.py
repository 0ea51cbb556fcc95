"""The scenarios: which faults, when. Pure: the seed decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.load import Plan as Load
from tests.faults.proxy import MODES
from tests.faults.story import Plot

USUAL = Plot()
DENSE = Plot(per_second=60)
ZOMBIE_S = 14.0
"""Past the embedded broker's session time-out of 10 s."""


class Fault(NamedTuple):
    """What happens at a moment of the story, for how long."""

    at_s: float
    action: str
    """kill · end (SIGTERM) · freeze · rename (the store is killed at its next rename) · proxy · fill (the disk)."""
    target: str = ""
    """A part, or the proxy's mode."""
    for_s: float = 0.0


Faults = Callable[[random.Random, Plot], list[Fault]]


@dataclass(frozen=True)
class Scenario:
    """One deployment, one story, its faults."""

    name: str
    what: str
    """For people: what happens."""
    faults: Faults
    plot: Plot = USUAL
    members: Sequence[str] = ()
    disk_mb: int = 0
    holes: bool = False
    """Whether a compacted topic with holes is there before the sink starts."""


def repeated(action: str, targets: Sequence[str], times: int, for_s: float = 0.0) -> Faults:
    """``times`` faults, one in each stretch of the story, at targets in turn."""

    def faults(noise: random.Random, plot: Plot) -> list[Fault]:
        stretch = (plot.seconds - 4) / times
        starts = [2 + (n + noise.uniform(0.1, 0.8)) * stretch for n in range(times)]
        return [Fault(round(at, 2), action, targets[n % len(targets)], for_s) for n, at in enumerate(starts)]

    return faults


def together(*several: Faults) -> Faults:
    """All of them."""
    return lambda noise, plot: sorted(fault for faults in several for fault in faults(noise, plot))


def nothing(noise: random.Random, plot: Plot) -> list[Fault]:
    """No fault at all."""
    return []


def _storm(noise: random.Random, plot: Plot) -> list[Fault]:
    """Further members come and go, some in good order, some not."""
    members = ("sink-2", "meter-2", "streams-2")
    return together(repeated("end", members, 6), repeated("kill", members, 6))(noise, plot)


SHORT = Scenario(
    "short",
    "every role and the store killed, a zombie sink; malformed messages and aborted transactions among the traffic",
    together(
        repeated("kill", ("meter", "sink", "streams", "store", "alerts"), 5),
        repeated("freeze", ("sink",), 1, ZOMBIE_S),
    ),
    plot=Plot(poisoned=0.02, transactions=True, seconds=55),
)
FULL: tuple[Scenario, ...] = (
    Scenario("calm", "nothing", nothing),
    Scenario("meter killed", "SIGKILL of the meter, five times", repeated("kill", ("meter",), 5)),
    Scenario("streams killed", "SIGKILL of stage 2, four times", repeated("kill", ("streams",), 4)),
    Scenario("sink killed", "SIGKILL of the sink, five times", repeated("kill", ("sink",), 5), DENSE),
    Scenario("alerts killed", "SIGKILL of alerts, five times", repeated("kill", ("alerts",), 5)),
    Scenario(
        "zombies",
        "meter, sink and stage 2 stopped past the session time-out, then going on",
        repeated("freeze", ("meter", "sink", "streams"), 3, ZOMBIE_S),
        members=("meter-2", "sink-2"),
    ),
    Scenario("store killed", "SIGKILL of the store, five times", repeated("kill", ("store",), 5), DENSE),
    Scenario(
        "store killed at rename",
        "SIGKILL of the store between deduplication record and rename of a part, five times",
        repeated("rename", ("store",), 5),
        DENSE,
    ),
    Scenario("store hangs", "the store stopped for 12 s, twice", repeated("freeze", ("store",), 2, 12.0)),
    Scenario(
        "store answers wrongly",
        "answers late, 500 before and after the insert, connections cut after the insert",
        repeated("proxy", [mode for mode in MODES if mode != "pass"], 8, 4.0),
    ),
    Scenario("broker killed", "SIGKILL of the broker, twice", repeated("kill", ("kafka",), 2)),
    Scenario(
        "rebalances",
        "a second meter, sink and stage 2 join and leave, twelve times",
        _storm,
        members=("sink-2", "meter-2", "streams-2"),
    ),
    Scenario("disk full", "the store's disk full for 8 s, twice", repeated("fill", ("store",), 2, 8.0), disk_mb=192),
    Scenario("wrong clocks", "2 % of the answers three hours ahead or behind", nothing, plot=Plot(misdated=0.02)),
    Scenario(
        "poison",
        "10 % malformed messages of eight kinds; sink and meter killed",
        repeated("kill", ("sink", "meter"), 4),
        plot=Plot(poisoned=0.1),
    ),
    Scenario(
        "repeated answers",
        "5 % of the answers sent twice by their producer; sink and meter killed",
        repeated("kill", ("meter", "sink"), 4),
        plot=Plot(repeated=0.05),
    ),
    Scenario(
        "transactions",
        "committed and aborted transactions; every role killed",
        repeated("kill", ("meter", "sink", "streams"), 6),
        plot=Plot(transactions=True),
    ),
    Scenario(
        "compaction holes",
        "a compacted topic with holes; the sink and the store killed",
        repeated("kill", ("sink", "store"), 4),
        holes=True,
    ),
)
LARGE_LOAD = Load(rate=12_600, seconds=400, pipelines=10, versions=2)
LARGE = Scenario(
    "five million",
    "twenty faults of every kind while 12,600 events a second come in",
    together(
        repeated("kill", ("sink",), 5),
        repeated("kill", ("store", "meter", "store", "streams"), 8),
        repeated("rename", ("store",), 2),
        repeated("freeze", ("sink",), 1, ZOMBIE_S),
        repeated("freeze", ("store",), 1, 12.0),
        repeated("proxy", ("deny", "cut"), 2, 5.0),
        repeated("kill", ("kafka",), 1),
    ),
    plot=Plot(seconds=LARGE_LOAD.seconds),
)
BY_NAME = {scenario.name: scenario for scenario in (SHORT, *FULL)}
