"""When a raw row counts, and in which window: the stream's rule, in SQL.

Parameters of every query made with these: ``skew``, ``size`` (milliseconds), ``since`` and ``until`` (epoch
milliseconds, window starts; ``until`` exclusive), and for COUNTED ``lead`` (see ``leads``).
"""

from __future__ import annotations

COUNTS_AT = "if(_arrival_ms > 0, least(time_ms, _arrival_ms + {skew:Int64}), time_ms)"
"""An event's own time, but never more than the allowed skew after it arrived. Rows of before that was kept have 0."""
START = f"intDiv({COUNTS_AT}, {{size:Int64}}) * {{size:Int64}}"
"""Start of the window, epoch milliseconds."""
COUNTED = (
    "time >= fromUnixTimestamp64Milli({since:Int64}) AND time < fromUnixTimestamp64Milli({until:Int64} + {lead:Int64}) "
    f"AND {COUNTS_AT} >= {{since:Int64}} AND {COUNTS_AT} < {{until:Int64}}"
)
"""It counts in since..until; the bounds on its own time let the table's order help."""


def leads(table: str) -> str:
    """A query for ``lead``: by how many milliseconds, at most, a row is stamped later than it counts."""
    return (
        "SELECT max(if(_arrival_ms > 0, greatest(time_ms - _arrival_ms - {skew:Int64}, 0), 0)) AS lead "
        f"FROM {table} WHERE time >= fromUnixTimestamp64Milli({{since:Int64}})"
    )
