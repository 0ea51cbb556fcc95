"""Figures become troubles with hysteresis: not at once, not for a moment, not again and again around a threshold."""

from __future__ import annotations

from streams.host.levels import ENGINE_WAITING, HOST_DISK, Breaches, Reach
from tidemill.settings.host import HostSettings

SETTINGS = HostSettings(disk_above=0.9, disk_leave=0.8, waiting_above=10, waiting_leave=2, for_s=30)
NOW_MS = 1_763_800_000_000


def told(breaches: Breaches, values: list[float], every_s: int = 10) -> list[bool]:
    return [
        bool(breaches.judge("node-1", {"disk_share": value}, NOW_MS + 1000 * every_s * at))
        for at, value in enumerate(values)
    ]


def test_an_alarm_needs_its_time_and_ends_at_the_other_threshold() -> None:
    values = [0.95, 0.95, 0.95, 0.95, 0.85, 0.85, 0.8, 0.85]
    assert told(Breaches(SETTINGS), values) == [False, False, False, True, True, True, False, False]


def test_a_moment_is_no_alarm() -> None:
    assert not any(told(Breaches(SETTINGS), [0.95, 0.95, 0.95, 0.85, 0.95, 0.95, 0.95, 0.85]))


def test_what_is_told_of_a_trouble() -> None:
    breaches = Breaches(SETTINGS)
    breaches.judge("local", {"requests_waiting": 40}, NOW_MS)
    (trouble,) = breaches.judge("local", {"requests_waiting": 12}, NOW_MS + 30_000)
    assert (trouble.rule, trouble.metric, trouble.value) == (ENGINE_WAITING, "requests_waiting/local", 12)
    assert trouble.summary == "local: 12 requests wait in the queue, above 10"
    assert trouble.since_ms == NOW_MS


def test_hosts_are_judged_apart_and_figures_that_are_missing_decide_nothing() -> None:
    breaches = Breaches(SETTINGS)
    for at_ms in (0, 30_000):
        found = breaches.judge("a", {"disk_share": 0.99}, NOW_MS + at_ms)
        breaches.judge("b", {"disk_share": 0.5}, NOW_MS + at_ms)
    assert [trouble.rule for trouble in found] == [HOST_DISK]
    assert breaches.judge("a", {}, NOW_MS + 40_000) == []
    assert breaches.undecided("a", {}) == ["disk_share/a"], "its alarm stays as it is"
    assert breaches.undecided("b", {}) == breaches.undecided("a", {"disk_share": 0.1}) == []


def test_an_open_alarm_outlives_the_watcher() -> None:
    breaches = Breaches(SETTINGS, ["disk_share/node-1"])
    assert told(breaches, [0.85, 0.79, 0.85]) == [True, False, False]


def test_an_engine_that_was_heard_of_and_is_away_is_a_trouble() -> None:
    reach = Reach(60, NOW_MS)
    assert reach.judge("local", False, NOW_MS + 600_000) == [], "it may be starting"
    assert reach.judge("local", True, NOW_MS + 600_000) == []
    assert reach.judge("local", False, NOW_MS + 660_000) == []
    (trouble,) = reach.judge("local", False, NOW_MS + 661_000)
    assert trouble.summary == "local: the engine has not answered for 61 s"
    assert reach.judge("local", True, NOW_MS + 662_000) == []
    assert Reach(60, NOW_MS, ["local"]).judge("local", False, NOW_MS) != [], "its alarm is open"
