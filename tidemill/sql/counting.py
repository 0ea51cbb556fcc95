"""When a raw row counts, and in which window: the stream's rule, in SQL.

Parameters of every query made with these: ``skew``, ``size`` (milliseconds), ``since`` and ``until`` (epoch
milliseconds, window starts; ``until`` exclusive).
"""

from __future__ import annotations

COUNTS_AT = "if(_arrival_ms > 0, least(time_ms, _arrival_ms + {skew:Int64}), time_ms)"
"""An event's own time, but never more than the allowed skew after it arrived. Rows of before that was kept have 0."""
START = f"intDiv({COUNTS_AT}, {{size:Int64}}) * {{size:Int64}}"
"""Start of the window, epoch milliseconds."""
COUNTED = (
    f"time >= fromUnixTimestamp64Milli({{since:Int64}}) AND {COUNTS_AT} >= {{since:Int64}} "
    f"AND {COUNTS_AT} < {{until:Int64}}"
)
"""It counts in since..until; no row counts later than its own time, so the table's order helps."""
