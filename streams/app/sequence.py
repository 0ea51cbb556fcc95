"""One partition's messages in the order of the log, none left out.

Faust may pass over messages after a rebalance: its fetcher can note a message as read that it dropped, so that what
comes from the place where reading begins anew counts as read, too. So offsets are looked at here, and where one is
missing, reading goes back to it.
"""

from __future__ import annotations

from typing import Literal

Place = Literal["next", "known", "gap"]


class Sequence:
    """Decides on each message by its offset. Pure.

    ``next``: handle it. ``known``: it was handled before. ``gap``: there is none below it that was handled last.
    Compaction and transactions leave offsets without a message: ``pass_to`` says that there is none.
    """

    def __init__(self, begin: int) -> None:
        """``begin``: no message below it is needed; the first may be one of those."""
        self.expected = begin
        """The offset that comes next."""
        self._began = False

    def place(self, offset: int) -> Place:
        """Where a message stands."""
        if offset > self.expected:
            return "gap"
        if self._began and offset < self.expected:
            return "known"
        self._began = True
        self.expected = offset + 1
        return "next"

    def pass_to(self, offset: int) -> None:
        """From ``expected`` on, the first offset with a message is this one."""
        self.expected = offset
