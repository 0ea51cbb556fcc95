"""Times on the command line."""

from __future__ import annotations

import pytest

from tidemill.cli.times import epoch_ms
from tidemill.errors import Stop

NOW_MS = 1_800_000_000_000
MIDNIGHT_MS = 1_769_817_600_000


@pytest.mark.parametrize("text", ["2026-01-31", "20260131", "2026-01-31T01:00+01:00", str(MIDNIGHT_MS)])
def test_a_time_is_a_date_or_epoch_milliseconds(text: str) -> None:
    assert epoch_ms("--since", text, NOW_MS) == MIDNIGHT_MS


def test_a_time_is_an_age() -> None:
    assert epoch_ms("--since", "2h", NOW_MS) == NOW_MS - 7_200_000


def test_what_is_no_time_is_refused_with_the_option() -> None:
    with pytest.raises(Stop, match="--from 'tomorrow' is no time: give 90m"):
        epoch_ms("--from", "tomorrow", NOW_MS)
