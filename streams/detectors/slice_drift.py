"""Drift of slices: the means of each slice under watch, on the budget of the whole pipeline.

A metric's part of the budget is split over the whole and the slices that have a name now; what counts as `other` is
watched by no detector. Words are watched in the whole only: slices have none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from msgspec import Struct, field

from streams.alarms import Found
from streams.detectors.baseline import BATCHES
from streams.detectors.budget import Budget
from streams.detectors.season import Period
from streams.detectors.watch import SEASON_CHANGED, Watch, Where, dropped, judged
from streams.windows.figures import observed
from streams.windows.tally import Tally
from tidemill.settings import DriftSettings


class SliceDrift(Struct, omit_defaults=True):
    """The drift state of a pipeline's slices."""

    champion: str = ""
    watches: dict[str, dict[str, Watch]] = field(default_factory=dict)
    """By slice, by metric."""
    season: Period | None = None
    """What the watches were made for."""

    @property
    def waiting(self) -> int:
        """Series without a verdict on their last batch, as too little is known of its hour."""
        return sum(watch.waits for watches in self.watches.values() for watch in watches.values())

    def judge(
        self,
        slices: Mapping[str, Tally],
        names: Collection[str],
        champion: str | None,
        settings: DriftSettings,
        budget: Budget,
        where: Where,
    ) -> list[tuple[Where, Found]]:
        """Take in the slices of one closed, complete window; give back what begins or ends, by series.

        ``names``: the slices that have a name now; all others are dropped. ``champion``: as for the whole.
        """
        watched = settings.by_slice if settings.enabled else ()
        said = self._drop(names, watched, budget, where)
        if self.season != where.season:
            said += self._start_anew(SEASON_CHANGED, where)
            for watches in self.watches.values():
                for watch in watches.values():
                    watch.hours = b""
            self.season = where.season
        if champion is not None and champion != self.champion:
            if self.champion:
                said += self._start_anew(f"{champion} became champion; a new reference is gathered", where)
            self.champion = champion
        least = math.ceil(settings.reference_calls / BATCHES)
        for name in sorted(names & slices.keys()) if watched else ():
            watches = self.watches.setdefault(name, {})
            for metric in watched:
                if (sums := observed(metric, slices[name])) is not None:
                    watch = watches.setdefault(metric, Watch())
                    if (full := watch.add(*sums, where.start_ms, least)) is not None:
                        at = where._replace(metric=metric, slice=name)
                        said.append((at, judged(watch, full, budget, at)))
        return [(at, found) for at, found in said if found]

    def _drop(
        self, names: Collection[str], watched: Collection[str], budget: Budget, where: Where
    ) -> list[tuple[Where, Found]]:
        said = []
        for name, watches in sorted(self.watches.items()):
            for metric in sorted(metric for metric in watches if name not in names or metric not in watched):
                at = where._replace(metric=metric, slice=name)
                said.append((at, dropped(watches.pop(metric), budget, at)))
        self.watches = {name: watches for name, watches in self.watches.items() if watches}
        return said

    def _start_anew(self, reason: str, where: Where) -> list[tuple[Where, Found]]:
        said = []
        for name, watches in sorted(self.watches.items()):
            for metric, watch in sorted(watches.items()):
                at = where._replace(metric=metric, slice=name)
                said.append((at, watch.close(at, reason)))
                watch.begin()
        return said
