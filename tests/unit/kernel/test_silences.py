"""When a silence by command holds: what its records say, in whatever part of the topic is left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill import silences
from tidemill.cli.silence import expired
from tidemill.codec import encode
from tidemill.errors import Quarantine
from tidemill.events import Silence
from tidemill.settings.alerting import AlertSettings
from tidemill.silences import KEPT_MS, LEAD_MS, LONGEST_MS, Mutes, Silences

NOW = 1_700_000_000_000
S = 1_000


def silence(name: str = "a", **more: Any) -> Silence:
    given: dict[str, Any] = {"match": {"pipeline": "support"}, "start_ms": NOW, "end_ms": NOW + 100 * S}
    return Silence(**{"silence_id": name, "comment": "works", "created_by": "ada", **given, **more})


def table(*records: tuple[Silence, int]) -> Silences:
    made = Silences()
    for one, at_ms in records:
        made.take(one.silence_id.encode(), encode(one), at_ms)
    return made


def test_it_counts_from_when_everybody_can_know_of_it() -> None:
    (late,) = table((silence(), NOW + 3 * S)).all()
    (planned,) = table((silence(start_ms=NOW + 50 * S), NOW)).all()
    assert (late.since_ms, late.until_ms) == (NOW + 3 * S + LEAD_MS, NOW + 100 * S)
    assert planned.since_ms == NOW + 50 * S
    assert [planned.state(NOW + at * S) for at in (0, 50, 99, 100)] == ["pending", "active", "active", "ended"]


@given(st.integers(-50, 150), st.integers(0, 200), st.integers(0, 200))
def test_an_expiry_ends_it_and_compaction_changes_nothing(start_s: int, made_s: int, later_s: int) -> None:
    first = (silence(start_ms=NOW + start_s * S, end_ms=NOW + 200 * S), NOW + made_s * S)
    (known,) = table(first).all()
    last = (expired(known), NOW + (made_s + later_s) * S)
    (whole,), (compacted,) = table(first, last).all(), table(last).all()
    assert (whole.since_ms, whole.until_ms) == (compacted.since_ms, compacted.until_ms)
    assert whole.since_ms == known.since_ms
    assert whole.until_ms == min(known.until_ms, last[1] + LEAD_MS)


def test_an_expiry_that_is_said_twice_ends_it_once() -> None:
    first = (silence(), NOW)
    (known,) = table(first).all()
    (ended,) = table(first, (expired(known), NOW + 5 * S), (expired(known), NOW + 50 * S)).all()
    assert ended.until_ms == NOW + 5 * S + LEAD_MS


def test_one_that_is_expired_before_it_begins_never_holds() -> None:
    first = (silence(start_ms=NOW + 50 * S), NOW)
    (known,) = table(first).all()
    (ended,) = table(first, (expired(known), NOW + S)).all()
    assert {ended.state(NOW + at * S) for at in range(110)} == {"ended"}
    assert all(
        Mutes(AlertSettings(), [ended]).until({"pipeline": "support"}, NOW + at * S) is None for at in range(110)
    )


def test_no_record_makes_it_last_longer_than_alarms_are_kept() -> None:
    (one,) = table((silence(end_ms=4_000_000_000_000), NOW)).all()
    assert one.until_ms - one.since_ms == LONGEST_MS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"a", b"{"),
        (b"a", b"{}"),
        (b"a", b"[]"),
        (None, encode(silence())),
        (b"b", encode(silence())),
        (b"a", encode(silence(match={"pipeline": "("}))),
        (b"a", encode(silence(match={"pipelin": "support"}))),
        (b"a", encode(silence(match={"pipeline": "x" * 257}))),
        (b"a", encode(silence(match={}))),
    ],
)
def test_what_is_no_silence_is_refused_and_changes_nothing(key: bytes | None, value: bytes) -> None:
    made = table((silence(), NOW))
    before = made.all()
    with pytest.raises(Quarantine):
        made.take(key, value, NOW + S)
    assert made.all() == before


def test_there_is_room_for_so_many_and_what_has_ended_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences, "MOST_KEPT", 3)
    made = table((silence("a"), NOW), (silence("b", end_ms=NOW + 5 * S), NOW), (silence("c"), NOW))
    with pytest.raises(Quarantine, match="no more are taken in"):
        made.take(b"d", encode(silence("d")), NOW + S)
    made.take(b"d", encode(silence("d")), NOW + 6 * S)
    assert [each.silence.silence_id for each in made.all()] == ["a", "c", "d"]


def test_it_is_forgotten_by_its_tombstone_when_nothing_can_be_about_it_any_more() -> None:
    made = table((silence("a"), NOW), (silence("b", end_ms=NOW + 500 * S), NOW))
    assert made.outlived(NOW + 100 * S + KEPT_MS) == []
    assert made.outlived(NOW + 101 * S + KEPT_MS) == ["a"]
    made.take(b"a", None, NOW)
    made.take(b"never", None, NOW)
    assert [each.silence.silence_id for each in made.all()] == ["b"]


def test_of_settings_and_commands_the_longest_mute_counts() -> None:
    kept = {"name": "all", "start": "2023-11-14T00:00:00Z", "end": "2023-11-14T22:13:40Z"}  # 20 s after NOW
    mutes = Mutes(AlertSettings.model_validate({"silences": [kept]}), table((silence(), NOW)).all())
    assert mutes.until({"pipeline": "support"}, NOW) == NOW + 20 * S
    assert mutes.until({"pipeline": "support"}, NOW + LEAD_MS) == NOW + 100 * S
    assert mutes.until({"pipeline": "other"}, NOW + LEAD_MS) == NOW + 20 * S
    assert [(mute.name, mute.source) for mute, _ in mutes.holding(NOW + LEAD_MS)] == [
        ("all", "settings"),
        ("works", "a"),
    ]
