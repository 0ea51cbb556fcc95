"""Alarms begin and end once, whoever is asked again."""

from __future__ import annotations

from msgspec import structs

from consumers.audit import alarms
from consumers.audit.report import Part, Projection, Report, Windows
from tidemill import troubles as system
from tidemill.codec import encode
from tidemill.events import ThresholdEvent
from tidemill.topics import THRESHOLDS

SPEAKER = "tidemill/test/audit"
RULES = [alarms.AUDIT_ROWS, alarms.AUDIT_WINDOWS]
NOW_MS = 1_763_800_000_000


def part(**fields: object) -> Part:
    given = {"topic": "inference.responses", "table": "responses", "partition": 0, "lo": 0, "hi": 10, "rows": 10}
    return Part(**given | fields)  # type: ignore[arg-type]


def report(*parts: Part, differing: dict[str, list[int]] | None = None) -> Report:
    return Report(
        time_ms=NOW_MS,
        since_ms=NOW_MS - 1000,
        parts=parts,
        repeats=(),
        projections=(),
        windows=Windows(differing=differing or {}),
    )


MISSING = report(part(missing=2, examples=("3-4",), since_ms=NOW_MS - 500), part(partition=1))


def test_nothing_wrong_nothing_said() -> None:
    fine = report(part())
    assert fine.holds and alarms.of_report(fine) == []
    assert system.events({}, [], RULES, SPEAKER, NOW_MS) == []


def test_an_alarm_begins_once_and_ends_once() -> None:
    said: dict[system.Key, ThresholdEvent] = {}
    troubles = alarms.of_report(MISSING)
    (fired,) = system.events(said, troubles, RULES, SPEAKER, NOW_MS)
    assert fired.data.rule == "audit_rows" and fired.data.kind == "system" and fired.data.value == 2
    assert "2 rows missing" in fired.data.summary and fired.data.window_start_ms == NOW_MS - 500
    system.follow(said, fired, SPEAKER)
    assert system.events(said, troubles, RULES, SPEAKER, NOW_MS + 1) == []
    assert system.events(said, [], [alarms.ROLE_STALE], SPEAKER, NOW_MS + 1) == [], "of another rule"
    (resolved,) = system.events(said, [], RULES, SPEAKER, NOW_MS + 2)
    assert resolved.data.state == "resolved" and resolved.data.alarm_id == fired.id
    system.follow(said, resolved, SPEAKER)
    assert system.firing(said) == {}


def test_the_same_trouble_once_more_is_another_alarm() -> None:
    said: dict[system.Key, ThresholdEvent] = {}
    troubles = alarms.of_report(MISSING)
    ids = []
    for turn in range(3):
        (fired,) = system.events(said, troubles, RULES, SPEAKER, NOW_MS + turn)
        system.follow(said, fired, SPEAKER)
        (resolved,) = system.events(said, [], RULES, SPEAKER, NOW_MS + turn)
        system.follow(said, resolved, SPEAKER)
        ids += [fired.id, resolved.id]
    assert len(set(ids)) == 6


def test_what_was_not_compared_ends_no_alarm() -> None:
    unequal = Projection(table="responses", name="by_minute", equal=False)
    before = structs.replace(MISSING, projections=(unequal,), windows=Windows(differing={"a": [NOW_MS]}))
    said: dict[system.Key, ThresholdEvent] = {}
    for event in system.events(said, alarms.of_report(before), RULES, SPEAKER, NOW_MS):
        system.follow(said, event, SPEAKER)
    assert len(system.firing(said)) == 3
    unknown = structs.replace(unequal, equal=None)
    now = structs.replace(before, parts=(), projections=(unknown,), windows=Windows(behind=3))
    (ended,) = system.events(said, alarms.of_report(now), RULES, SPEAKER, NOW_MS, alarms.undecided(now))
    assert ended.data.metric == "rows/responses"
    assert alarms.undecided(report(part())) == []


def test_who_starts_again_says_the_same_ids() -> None:
    (one,) = system.events({}, alarms.of_report(MISSING), RULES, SPEAKER, NOW_MS)
    (other,) = system.events({}, alarms.of_report(MISSING), RULES, SPEAKER, NOW_MS + 5_000)
    assert one.id == other.id
    assert THRESHOLDS.decoder()(encode(one)) == one


def test_alarms_of_others_are_not_ours() -> None:
    (fired,) = system.events({}, alarms.of_report(MISSING), RULES, "tidemill/elsewhere/audit", NOW_MS)
    open_alarms: dict[system.Key, ThresholdEvent] = {}
    system.follow(open_alarms, fired, SPEAKER)
    assert open_alarms == {}


def test_windows_alarm_by_pipeline() -> None:
    troubles = alarms.of_report(report(differing={"a": [NOW_MS, NOW_MS + 10], "b": [NOW_MS]}))
    assert [(t.metric, t.value) for t in troubles] == [("windows/a", 2), ("windows/b", 1)]
    assert not report(differing={"a": [1]}).holds
