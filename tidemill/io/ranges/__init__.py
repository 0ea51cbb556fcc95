"""Frozen offset ranges: how a consumer of Kafka repeats the very same effect after a crash.

A range lo..hi of one partition is written down (as metadata of the commit of lo) before its effect and forgotten only
after it. Whoever owns the partition after a crash or a rebalance finds the note and replays exactly lo..hi, so an
effect that is idempotent per range (an insert under a token, a message with equal bytes) happens once. Sink and meter
stand on this alike.
"""

from __future__ import annotations

from tidemill.io.ranges.consumer import RangeConsumer
from tidemill.io.ranges.range import Intent, Position, Range

__all__ = ["Intent", "Position", "Range", "RangeConsumer"]
