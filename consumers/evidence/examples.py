"""A handful of calls after a change, the most telling first, cut to a bounded length. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumers.evidence.call import Call
from tidemill.evidence import Example

MOST = 5
MOST_CHARS = 600
_MOST_NAME = 80
_CUT = "…"


def examples(
    calls: Sequence[Call], values: Mapping[str, float], change: float, slice_of: tuple[str, str] | None
) -> tuple[Example, ...]:
    """Calls whose figure (``values``, by call id) lies farthest in the direction of the change, those of the telling
    slice (dimension, value) first; equal questions once.
    """
    known = [call for call in calls if call.call_id in values]
    direction = -1 if change >= 0 else 1

    def order(call: Call) -> tuple[bool, float, int, str]:
        outside = slice_of is not None and call.slices.get(slice_of[0], "") != slice_of[1]
        return outside, direction * values[call.call_id], -call.time_ms, call.call_id

    found: list[Example] = []
    said: set[str] = set()
    for call in sorted(known, key=order):
        if len(found) == MOST:
            break
        if call.question is not None and call.question in said:
            continue
        said.add(call.question or "")
        found.append(_shown(call, values[call.call_id]))
    return tuple(found)


def _shown(call: Call, figure: float) -> Example:
    return Example(
        call_id=call.call_id,
        time_ms=call.time_ms,
        figure=figure,
        slices={_cut(name, _MOST_NAME) or "": _cut(value, _MOST_NAME) or "" for name, value in _given(call)},
        question=_cut(call.question, MOST_CHARS),
        answer=_cut(call.answer, MOST_CHARS),
        expected=_cut(call.expected, MOST_CHARS),
    )


def _given(call: Call) -> list[tuple[str, str]]:
    return [(name, value) for name, value in call.slices.items() if value][:12]


def _cut(text: str | None, most: int) -> str | None:
    return text if text is None or len(text) <= most else text[: most - 1] + _CUT
