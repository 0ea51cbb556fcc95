"""Schedules: which moments come round, from both sides, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill import schedule
from tidemill.settings import TriggerSettings


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = "2026-11-28T14:30"  # a Saturday


@pytest.mark.parametrize(
    ("text", "last", "following"),
    [
        ("every 12h", "2026-11-28T12:00", "2026-11-29T00:00"),
        ("EVERY  30m", "2026-11-28T14:30", "2026-11-28T15:00"),
        ("every 1d", "2026-11-28", "2026-11-29"),
        ("0 3 * * *", "2026-11-28T03:00", "2026-11-29T03:00"),
        ("*/15 14 * * *", "2026-11-28T14:30", "2026-11-28T14:45"),
        ("30 14 28 11 *", NOW, "2027-11-28T14:30"),
        ("0 3 * * mon", "2026-11-23T03:00", "2026-11-30T03:00"),
        ("0 3 * * 1-5", "2026-11-27T03:00", "2026-11-30T03:00"),
        ("0 3 * * 7", "2026-11-22T03:00", "2026-11-29T03:00"),
        ("0 0 1,15 * *", "2026-11-15", "2026-12-01"),
        ("0 0 1 * fri", "2026-11-27", "2026-12-01"),
        ("0 0 29 2 *", "2024-02-29", "2028-02-29"),
        ("5/20 1-2 * * *", "2026-11-28T02:45", "2026-11-29T01:05"),
    ],
)
def test_the_moments_around_now(text: str, last: str, following: str) -> None:
    times, now = schedule.read(text), ms(NOW)
    assert (times.last(now), times.following(now)) == (ms(last), ms(following))


@given(
    st.sampled_from(["every 7m", "every 2w", "*/7 * * * *", "0 3 1 * mon", "59 23 31 12 *", "0 0 29 2 *"]),
    st.integers(ms("1990-01-01"), ms("2090-01-01")),
)
def test_last_and_following_are_neighbours(text: str, now: int) -> None:
    times = schedule.read(text)
    last, following = times.last(now), times.following(now)
    assert last <= now < following
    assert times.following(last) == following and times.last(following) == following
    assert times.last(following - 1) == last


@pytest.mark.parametrize(
    "text",
    [
        "every 0h",
        "every 5s",
        "3 * * *",
        "61 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * * 8",
        "5-1 * * * *",
        "*-5 * * * *",
        "*/0 * * * *",
        "@daily",
        "0 0 30 2 *",
        "0 0 * * someday",
    ],
)
def test_what_is_no_schedule_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ValueError, match="write '0 3"):
        schedule.read(text)
    with pytest.raises(ValueError, match="schedule"):
        TriggerSettings(schedule=text)
