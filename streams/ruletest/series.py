"""The notation of series and times in a test file, as ``promtool test rules`` has it.

``0.01x4`` is 0.01 and four more of it; ``1+2x3`` is 1 3 5 7; ``_`` is a window without data, ``_x3`` three of them.
Source: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

from __future__ import annotations

import re

MAX_WINDOWS = 1_000_000
"""Of one test: a month of windows of three seconds."""
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?"
_VALUE = re.compile(rf"({_NUMBER})(?:(?:([+-])({_NUMBER}))?x(\d+))?")
_NOTHING = re.compile(r"_(?:x(\d+))?")
_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")

Values = list[float | None]


def expand(text: str) -> Values:
    """The values of a series, window by window; None without data. Raises ValueError with the part that is wrong."""
    found: Values = []
    for part in text.split():
        if (nothing := _NOTHING.fullmatch(part)) is not None:
            more: Values = [None] * (1 if nothing[1] is None else _count(nothing[1], part))
        elif (value := _VALUE.fullmatch(part)) is not None:
            start, sign, step, times = value.groups()
            step = float(f"{sign}{step}") if step else 0.0
            more = [float(start) + step * n for n in range(1 + (_count(times, part) if times else 0))]
        else:
            raise ValueError(
                f"{part!r} is no part of a series; write 0.2, 0.2x9 (ten of it), 1+2x3 (1 3 5 7), _ or _x3"
            )
        found += more
        if len(found) > MAX_WINDOWS:
            raise ValueError(f"more than {MAX_WINDOWS:,} windows; shorten it, or set a larger windows.size_s")
    if not found:
        raise ValueError("an empty series; write values such as 0.01x9 0.4x4")
    return found


def seconds(text: str) -> int:
    """``1h30m`` as seconds. Raises ValueError."""
    parts = _TIME.fullmatch(text)
    if not text or parts is None:
        raise ValueError("no time from the test's start; write 40s, 5m, 1h30m or 2d")
    return sum(int(part) * unit for part, unit in zip(parts.groups(), _UNITS_S.values(), strict=True) if part)


def _count(text: str, part: str) -> int:
    count = int(text)
    if count > MAX_WINDOWS:
        raise ValueError(f"{part!r}: more than {MAX_WINDOWS:,} windows")
    return count
