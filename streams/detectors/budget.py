"""The false-alarm budget: at most one false alarm in ``run_length`` clock updates, for a whole deployment.

The clock ticks once for each closed second of event time, whatever the number of series. At each tick the budget
grants one unit of mass (or the ``share`` of it that is this part's) and splits it over the series that are admitted:
equally over pipelines, over the metrics of each, over the slices of each metric. (A series with a tenth of the mass is
slower by the time its wealth needs to grow tenfold: unequal parts would gain little.) Each series' e-detector stakes
its mass and alarms when its wealth R reaches ``run_length`` (``betting.py``).

**Why admitting a series never breaks the promise.** Let m_i(t) be the mass that series i is granted at tick t, and A(T)
all false alarms up to T. For each series R_i(T) + N A_i(T) - sum of m_i is a supermartingale that starts at zero; so

    N E[A(T)] <= sum over t <= T, over i, of m_i(t) <= T.

Nothing else is needed than that the masses of one tick add up to at most one. Mass that has been granted is never
granted again: a new series takes its part of the ticks to come, from the others' parts of the ticks to come. Wealth
that a series has won stays its own. A series that is retired takes its wealth with it, which only lowers the
left side.

**Why forfeiting does no harm.** Mass piles up while a series has no value to judge. With ``longest`` its next grant is
worth at most so many ticks and the rest is forfeited: never staked, and granted to nobody else. That lowers the left
side too, and an idle week does not hand a week's stake to the first value after it, which would then decide alone.

What is assumed: a series' factors have mean at most 1 given its *own* past, and its masses do not look ahead. Series
may depend on each other in any way. (For the mean run length to the first alarm of all to be at least N, rather than
for the number of alarms up to any fixed time, factors must be fair given the past of *all* series.) A series that was
admitted because its values looked odd breaks this: admit by names and traffic.

Source: sums of e-detectors are e-detectors, Shin, Ramdas, Rinaldo (2203.03532).
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

from msgspec import Struct


class Series(NamedTuple):
    """What one detector watches; the slice "" is the whole traffic."""

    pipeline: str
    metric: str
    slice: str = ""


class Account(Struct, array_like=True):
    """One series' part of the budget."""

    weight: float = 0.0
    """Its share of each unit, now."""
    since: int = 0
    """The tick up to which its mass is reckoned."""
    ungranted: float = 0.0
    granted: float = 0.0
    """Mass taken so far."""
    alarms: int = 0


class Spend(NamedTuple):
    """The budget as plain figures."""

    updates: int
    """Ticks of the clock so far."""
    series: int
    allowed: float
    """False alarms that the budget allowed up to now, on average."""
    alarms: int
    """Alarms so far, false or not."""
    granted: float
    """Mass that detectors have taken; the rest waits for a value to judge."""


class BudgetState(Struct, frozen=True, array_like=True):
    """The budget as data: a few numbers for each admitted series."""

    updates: int = 0
    share: float = 0.0
    """0: whatever share the budget is made with."""
    retired_granted: float = 0.0
    retired_alarms: int = 0
    accounts: list[tuple[Series, Account]] = []


class Budget:
    """Splits one unit (or ``share``) of mass a tick over series; the shares of a deployment's parts add up to one.

    ``longest``: ticks that one grant is worth at most; None: all since the one before.
    """

    def __init__(self, run_length: float, share: float = 1.0, longest: int | None = None) -> None:
        if not run_length >= 1:
            raise ValueError(f"run_length is {run_length}; at most one false alarm in how many updates, 1 or more?")
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it is a part of the deployment's budget, above 0 and at most 1")
        self.run_length = run_length
        self.share = share
        self.longest = longest
        self.updates = 0
        self._accounts: dict[Series, Account] = {}
        self._retired_granted = 0.0
        self._retired_alarms = 0

    def tick(self, updates: int = 1) -> None:
        """The clock went on."""
        self.updates += updates

    def admit(self, series: Series) -> None:
        """Watch a series from the next tick on; admitting it again changes nothing."""
        if series not in self._accounts:
            self._settle()
            self._accounts[series] = Account(since=self.updates)
            self._split()

    def retire(self, series: Series) -> None:
        """Watch a series no longer; others share its part of the ticks to come."""
        self._settle()
        gone = self._accounts.pop(series)
        self._retired_granted += gone.granted
        self._retired_alarms += gone.alarms
        self._split()

    def grant(self, series: Series) -> float:
        """The mass of a series since its last grant: hand it to the detector with the value. Zero within one tick."""
        account = self._accounts[series]
        self._settle_one(account)
        mass, account.ungranted = account.ungranted, 0.0
        if self.longest is not None:
            mass = min(mass, account.weight * self.longest)
        account.granted += mass
        return mass

    def alarmed(self, series: Series) -> None:
        """Count an alarm of a series."""
        self._accounts[series].alarms += 1

    def weight(self, series: Series) -> float:
        """A series' part of each unit: all weights add up to ``share``."""
        return self._accounts[series].weight

    @property
    def series(self) -> list[Series]:
        """What is watched now."""
        return list(self._accounts)

    @property
    def spend(self) -> Spend:
        """Where the budget stands."""
        accounts = self._accounts.values()
        return Spend(
            updates=self.updates,
            series=len(self._accounts),
            allowed=self.updates * self.share / self.run_length,
            alarms=self._retired_alarms + sum(account.alarms for account in accounts),
            granted=self._retired_granted + sum(account.granted for account in accounts),
        )

    def snapshot(self) -> BudgetState:
        """The exact state."""
        accounts = [(series, copy(account)) for series, account in self._accounts.items()]
        return BudgetState(self.updates, self.share, self._retired_granted, self._retired_alarms, accounts)

    def restore(self, state: BudgetState) -> None:
        """Go on from ``state``. With another share than its own, that holds for the ticks to come."""
        self.updates = state.updates
        self._retired_granted, self._retired_alarms = state.retired_granted, state.retired_alarms
        self._accounts = {series: copy(account) for series, account in state.accounts}
        if state.share != self.share:
            self._settle()
            self._split()

    def _settle(self) -> None:
        for account in self._accounts.values():
            self._settle_one(account)

    def _settle_one(self, account: Account) -> None:
        account.ungranted += account.weight * (self.updates - account.since)
        account.since = self.updates

    def _split(self) -> None:
        """Level by level, so that a pipeline with many slices takes nothing from another pipeline."""
        tree: dict[str, dict[str, list[Account]]] = {}
        for series, account in self._accounts.items():
            tree.setdefault(series.pipeline, {}).setdefault(series.metric, []).append(account)
        for metrics in tree.values():
            for slices in metrics.values():
                for account in slices:
                    account.weight = self.share / len(tree) / len(metrics) / len(slices)
