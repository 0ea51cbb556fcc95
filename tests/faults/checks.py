"""The checkers: pure comparisons of what must be with what is. Each has a test that it says no (test_checks.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tests.faults.reference import Key, Place, Sums

Letter = tuple[str, bytes | None, bytes | None]
"""Source topic, key and value of a rejected message."""
Alarm = tuple[str, str, str]
"""Pipeline, rule and state."""


class Rows(NamedTuple):
    """Rows of a table against good messages of its topic."""

    missing: int
    duplicates: int
    unknown: int
    """Rows from places that hold no good message: aborted, malformed, or never sent."""
    changed: int
    """Rows that say something else than their message."""


def rows(wanted: Mapping[Place, str], found: Iterable[tuple[Place, str]]) -> Rows:
    """Both by place, with words for the content."""
    counts: Counter[Place] = Counter()
    changed = 0
    for place, content in found:
        counts[place] += 1
        changed += place in wanted and wanted[place] != content
    return Rows(
        missing=len(wanted.keys() - counts.keys()),
        duplicates=counts.total() - len(counts),
        unknown=len(counts.keys() - wanted.keys()),
        changed=changed,
    )


class Letters(NamedTuple):
    """Dead letters against what was malformed."""

    missing: int
    unknown: int
    """Dead letters that are no rejected message, to the byte."""
    repeated: int
    """Letters more than once: allowed, at least once is what is promised."""


def letters(wanted: Collection[Letter], found: Collection[Letter]) -> Letters:
    counts = Counter(found)
    return Letters(
        missing=len(set(wanted) - counts.keys()),
        unknown=len(counts.keys() - set(wanted)),
        repeated=counts.total() - len(counts),
    )


def windows(wanted: Mapping[Key, Sums], found: Mapping[Key, Sums]) -> list[Key]:
    """Windows that differ: other figures, not there, or there without cause."""
    return sorted(
        key
        for key in wanted.keys() | found.keys()
        if key not in wanted or key not in found or not wanted[key].equals(found[key])
    )


class Alarms(NamedTuple):
    """Threshold events against what the story gives cause for."""

    lost: int
    doubled: int
    """Alarms with another id for the same cause, and alarms without a cause."""
    repeated: int
    """The same event (one id) more than once in the topic: readers know it by its id."""


def alarms(wanted: Collection[Alarm], found: Iterable[tuple[str, Alarm]]) -> Alarms:
    """``found``: id and alarm of each threshold event in the topic."""
    listed = list(found)
    distinct = Counter(alarm for _, alarm in set(listed))
    return Alarms(
        lost=len(set(wanted) - distinct.keys()),
        doubled=distinct.total() - len(set(wanted) & distinct.keys()),
        repeated=len(listed) - len(set(listed)),
    )


class Webhooks(NamedTuple):
    """Deliveries against threshold events."""

    lost: int
    unknown: int
    repeated: int
    """Deliveries more than once under the same webhook-id: only what was in hand at a kill."""


def webhooks(wanted: Collection[str], deliveries: Mapping[str, int]) -> Webhooks:
    """``deliveries``: how often each webhook-id came."""
    return Webhooks(
        lost=len(set(wanted) - deliveries.keys()),
        unknown=len(deliveries.keys() - set(wanted)),
        repeated=sum(deliveries.values()) - len(deliveries),
    )


def longest_lag_s(arrivals: Mapping[Place, int], seen: Iterable[tuple[int, str, int, int]]) -> float | None:
    """Longest time from a message's arrival to when a row of it or of a later one of its partition was seen.

    ``arrivals``: epoch ms by place. ``seen``: (epoch ms, topic, partition, highest offset), in order of time. None when
    some message was never seen.
    """
    waiting: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for place, arrival_ms in sorted(arrivals.items(), reverse=True):
        waiting.setdefault((place.topic, place.partition), []).append((place.offset, arrival_ms))
    longest_ms = 0
    for at_ms, topic, partition, highest in seen:
        left = waiting.get((topic, partition), [])
        while left and left[-1][0] <= highest:
            longest_ms = max(longest_ms, at_ms - left.pop()[1])
    return None if any(waiting.values()) else longest_ms / 1000
