"""Times as people give them to a command, and as a command shows them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tidemill.errors import Stop

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DATE_DIGITS = 8
"""So many digits are a date (20260131), any other number is epoch milliseconds."""


def duration_ms(option: str, text: str) -> int:
    """``90m``, ``2h``, ``7d`` as milliseconds. Raises Stop with the option."""
    given = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if given is None or int(given[1]) == 0:
        raise Stop(f"{option} {text!r} is no stretch of time: give 90s, 30m, 2h or 7d")
    return int(given[1]) * _UNITS_MS[given[2]]


def moment_ms(option: str, text: str) -> int:
    """``2026-01-31T12:00`` (UTC unless it says so) or epoch milliseconds. Raises Stop with the option."""
    if re.fullmatch(r"\d+[smhd]", text):
        raise Stop(
            f"{option} {text!r} is no moment: give 2026-01-31T12:00, 2026-01-31T12:00+01:00 or epoch milliseconds"
        )
    return epoch_ms(option, text, 0)


def epoch_ms(option: str, text: str, now_ms: int) -> int:
    """``2h`` (ago), ``2026-01-31T12:00`` (UTC unless it says so) or epoch milliseconds. Raises Stop with the option."""
    if ago := re.fullmatch(r"(\d+)([smhd])", text):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    if text.isdecimal() and len(text) != _DATE_DIGITS:
        return int(text)
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise Stop(f"{option} {text!r} is no time: give 90m, 2h, 7d, 2026-01-31T12:00 or epoch milliseconds") from error
    return round((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp() * 1000)


def shown_time(time_ms: int) -> str:
    """``2026-01-31 12:00:00``, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
