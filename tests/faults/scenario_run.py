"""Runs one scenario on real parts and judges it; what was found is one JSON line in ``.cache/faults.jsonl``."""

from __future__ import annotations

import dataclasses
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults import checks, observed, reference
from tests.faults.deployment import Deployment
from tests.faults.holes import make_holes
from tests.faults.injector import Injector
from tests.faults.record import Record, append
from tests.faults.scenarios import Scenario
from tests.faults.story import ALARMS, SOURCES, Plot, Said, story
from tests.faults.teller import Teller
from tests.faults.watcher import Watcher
from tidemill.errors import TidemillError
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings
from tidemill.topics import ROUTES, THRESHOLDS, WINDOWS

SETTLE_S = 150.0
"""How long after the last fault everything may take to be right."""
_LEAD_S = 2.0


def run(scenario: Scenario, seed: int, folder: Path, then: Callable[[Deployment, Judge], None] | None = None) -> Record:
    """What the scenario came to. ``then`` is called with the deployment still up, after the judgement."""
    plot = dataclasses.replace(scenario.plot, seed=seed)
    with Deployment(folder, seed, scenario.members, scenario.disk_mb) as deployment:
        try:
            record, judge = _played(deployment, scenario, plot)
        except BaseException:
            print(deployment.logs())
            raise
        append(record)
        if not record.holds:
            print(record, *judge.differing[:10], deployment.logs(), sep="\n")
        if then is not None:
            then(deployment, judge)
        return record


def _played(deployment: Deployment, scenario: Scenario, plot: Plot) -> tuple[Record, Judge]:
    """Tell the story, hurt the deployment meanwhile, judge what it came to."""
    if scenario.holes:
        make_holes(deployment.settings)
    deployment.start_roles()
    start_s = time.monotonic() + _LEAD_S
    start_ms = int((time.time() + _LEAD_S) * 1000)
    said = story(plot, start_ms)
    watcher = Watcher(deployment.settings)
    teller = Teller(deployment.settings, said, start_ms, transactions=plot.transactions)
    injector = Injector(deployment, scenario.faults(random.Random(plot.seed), plot), start_s)
    watcher.start()
    teller.start()
    try:
        injector.run_while(teller.is_alive)
        assert not teller.failures, teller.failures[:3]
        judge = Judge(deployment, scenario, said)
        found = judge.settled(SETTLE_S)
        audit = deployment.audited()
    finally:
        injector.close()
        watcher.stop()
    record = dataclasses.replace(
        found,
        seed=plot.seed,
        faults=injector.done,
        restarts=deployment.restarts(),
        lag_s=checks.longest_lag_s({place: one.arrival_ms for place, one in judge.log.items()}, watcher.seen),
        audit_differs=int(not audit["holds"]),
        wall_s=round(time.monotonic() - start_s, 1),
    )
    return record, judge


class Judge:
    """Compares the log with tables, dead letters, windows and alarms. ``log`` is read once: the story is over."""

    def __init__(self, deployment: Deployment, scenario: Scenario, said: list[Said]) -> None:
        self.settings: Settings = deployment.settings
        self.store = Store(deployment.settings)
        self.differing: list[reference.Key] = []
        self._receiver = deployment.receiver_counts
        self._scenario = scenario
        self.log = {p: a for topic in SOURCES for p, a in observed.good(self.settings, topic).items()}
        self._bad = [letter for topic in SOURCES for letter in observed.bad(self.settings, topic)]
        planned = Counter((one.topic.name, one.key, one.value) for one in said)
        there = Counter(
            (topic.name, m.key(), m.value()) for topic in SOURCES for m in observed.messages(self.settings, topic.name)
        )
        assert there == planned, f"the log is not the story: {list((planned - there) + (there - planned))[:3]}"

    def settled(self, within_s: float) -> Record:
        """The first judgement that holds, or the last one."""
        end_s = time.monotonic() + within_s
        while True:
            late = time.monotonic() > end_s
            try:
                found = self.judged()
                if found.holds or late:
                    return found
            except TidemillError:
                if late:
                    raise
            time.sleep(1.0)

    def comes_to(self, wrong: dict[str, int], within_s: float = 60.0) -> None:
        """Wait until exactly this is wrong: what the deployment says of itself meanwhile is soon in its table, too."""
        end_s = time.monotonic() + within_s
        while (found := self.judged().wrong) != wrong:
            assert time.monotonic() < end_s, f"{found} is wrong, not {wrong}"
            time.sleep(0.5)

    def judged(self) -> Record:
        """What is so now. Raises TidemillError while store or broker are away."""
        tables = Counter[str]()
        for topic in (*SOURCES, WINDOWS, THRESHOLDS, *([ROUTES] if self._scenario.holes else [])):
            assert topic.table is not None
            log = self.log if topic in SOURCES else observed.good(self.settings, topic)
            wanted = {p: observed.content_of(topic, a.event) for p, a in log.items() if p.topic == topic.name}
            compared = checks.rows(wanted, observed.rows(self.store, topic.table))
            tables.update(compared._asdict(), rows=len(wanted))
        letters = checks.letters(self._bad, observed.letters(self.settings))
        wanted_windows = reference.expected(self.log, self._rules(), observed.ranges(self.settings))
        self.differing = checks.windows(wanted_windows, observed.windows(self.store))
        events = observed.threshold_events(self.settings)
        alarms = checks.alarms(ALARMS, events)
        hooks = checks.webhooks({name for name, _ in events}, self._receiver())
        return Record(
            scenario=self._scenario.name,
            what=self._scenario.what,
            rows=tables["rows"],
            missing=tables["missing"],
            duplicates=tables["duplicates"],
            unknown=tables["unknown"],
            changed=tables["changed"],
            poison=len(self._bad),
            letters_missing=letters.missing,
            letters_unknown=letters.unknown,
            letters_repeated=letters.repeated,
            windows=len(wanted_windows),
            windows_differing=len(self.differing) + observed.contradictions(self.settings),
            alarms=len(events),
            alarms_lost=alarms.lost,
            alarms_doubled=alarms.doubled,
            alarms_repeated=alarms.repeated,
            webhooks_lost=hooks.lost,
            webhooks_unknown=hooks.unknown,
            webhooks_repeated=hooks.repeated,
        )

    def _rules(self) -> reference.Rules:
        windows = self.settings.windows
        quality = {name: pipeline.quality.metric for name, pipeline in self.settings.pipelines.items()}
        return reference.Rules(
            windows.size_s * 1000, windows.max_clock_skew_s * 1000, windows.lateness_s * 1000, quality
        )
