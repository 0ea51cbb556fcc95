"""When there is too much to refuse: a bad deploy stops the sink with a clear error instead of draining a topic. Pure.

Two figures, both known after a restart too, since they are counted in the dead-letter topic itself: the share of
refused among a partition's last messages, and a topic's dead letters within an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tidemill.settings.monitoring import DeadLetterSettings

LEAST = 1_000
"""Messages of a partition before their share of refused says anything."""
HOUR_MS = 3_600_000
REASON_CHARACTERS = 80


class Share:
    """Messages and refused ones of a partition's newest ranges: as few ranges as hold ``LEAST`` messages."""

    def __init__(self, past: Iterable[tuple[int, int]] = ()) -> None:
        """``past``: (messages, refused) of what came before, oldest first."""
        self._ranges: deque[tuple[int, int]] = deque(past)
        self.messages = sum(messages for messages, _ in self._ranges)
        self.refused = sum(refused for _, refused in self._ranges)
        self._forget()

    def add(self, messages: int, refused: int) -> None:
        """One range more."""
        self._ranges.append((messages, refused))
        self.messages += messages
        self.refused += refused
        self._forget()

    def with_range(self, messages: int, refused: int) -> Share:
        """As it would be with one range more."""
        return Share([*self._ranges, (messages, refused)])

    def above(self, most: float) -> bool:
        """Whether enough messages say that more than this share is refused."""
        return self.messages >= LEAST and self.refused > most * self.messages

    def _forget(self) -> None:
        while self._ranges and self.messages - self._ranges[0][0] >= LEAST:
            messages, refused = self._ranges.popleft()
            self.messages -= messages
            self.refused -= refused


def past_of(lo: int, start: int, refused: Iterable[int]) -> list[tuple[int, int]]:
    """A partition's last messages below offset ``lo``, for ``Share``: one entry an offset, oldest first.

    ``start``: first offset that the partition still has; ``refused``: offsets that the dead letters name. Holes in the
    offsets count as messages.
    """
    found = set(refused)
    return [(1, int(offset in found)) for offset in range(max(start, lo - LEAST), lo)]


def breach(
    settings: DeadLetterSettings, topic: str, partition: int, share: Share, hour: int, refused: int, reason: str
) -> str | None:
    """Why to stop before ``refused`` more messages are sent to the dead letters; None: go on.

    ``share`` counts them in, ``hour`` (letters of the topic in the last hour) does not. ``reason``: the first refusal.
    """
    said = f"(first: {reason[:REASON_CHARACTERS]}). Nothing is lost. Mend the producer, then"
    if share.above(settings.max_share):
        return (
            f"{topic}/{partition}: {share.refused:,} of the last {share.messages:,} messages refused, more than "
            f"dead_letters.max_share {settings.max_share:g} {said} set it to 1 until these are through"
        )
    if refused and hour + refused > settings.max_per_hour:
        return (
            f"{topic}: {hour:,} dead letters in an hour and {refused:,} more, over dead_letters.max_per_hour "
            f"{settings.max_per_hour} {said} raise it, wait, or `tidemill dlq drop`"
        )
    return None
