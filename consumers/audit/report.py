"""What an audit found, as values."""

from __future__ import annotations

from msgspec import Struct


class Part(Struct, frozen=True, kw_only=True):
    """One partition of one topic beside its table."""

    topic: str
    table: str
    partition: int
    lo: int
    hi: int
    """Compared were the offsets lo (inclusive) to hi (exclusive)."""
    rows: int
    missing: int = 0
    """Messages that Kafka has and neither the table nor the dead letters."""
    duplicates: int = 0
    """Rows beyond the first of their offset."""
    dead_letters: int = 0
    unburied: int = 0
    """Malformed messages that are not among the dead letters (any more): dropped there, or older than they are kept."""
    expired: int = 0
    """Messages without a row that are older than the table's TTL keeps rows."""
    holes: int = 0
    """Offsets without a row that hold no message in Kafka either: compaction, transactions."""
    examples: tuple[str, ...] = ()
    """The first stretches of offsets that are wrong."""
    since_ms: int | None = None
    """When the first of what is wrong arrived."""


class Repeats(Struct, frozen=True, kw_only=True):
    """Events that their producer sent more than once: no error of tidemill's."""

    table: str
    rows: int
    repeated: int
    share: float


class Projection(Struct, frozen=True, kw_only=True):
    """A projection's totals beside those of its table."""

    table: str
    name: str
    equal: bool | None
    """None: no part of the time compared holds it, the table changed each time, or the store did not answer."""


class Difference(Struct, frozen=True, kw_only=True):
    """One figure of one window that the stream and the raw rows do not agree on."""

    pipeline: str
    start_ms: int
    model_version: str
    variant: str
    role: str
    slice: str
    metric: str
    stream: str
    """What the stream says; empty: nothing."""
    rows: str
    """What the raw rows say; empty: nothing."""


class Windows(Struct, frozen=True, kw_only=True):
    """The stream's windows beside the raw rows."""

    compared: int = 0
    """Windows (pipeline × start) that had to be equal."""
    incomplete: int = 0
    """Windows left out as the stream said itself that a source was silent."""
    late: int = 0
    """Windows left out as rows of theirs came after their lateness."""
    repeated: int = 0
    """Windows left out as an upstream producer sent events of theirs twice."""
    gone: int = 0
    """Windows left out as no raw row of theirs is in the store (any more)."""
    stray: int = 0
    """Windows left out as the stream has none of their pipeline, and no setting names it."""
    behind: int = 0
    """Messages the sink had yet to land; unless 0, no window was compared."""
    differing: dict[str, list[int]] = {}
    """By pipeline, the starts of the windows that differ, epoch milliseconds."""
    examples: tuple[Difference, ...] = ()

    @property
    def different(self) -> int:
        """Windows that differ."""
        return sum(map(len, self.differing.values()))


class Report(Struct, frozen=True, kw_only=True):
    """One whole comparison."""

    time_ms: int
    since_ms: int | None
    """Compared is what arrived since then; None: everything that Kafka keeps."""
    parts: tuple[Part, ...]
    repeats: tuple[Repeats, ...]
    projections: tuple[Projection, ...]
    windows: Windows

    @property
    def missing(self) -> int:
        """Rows that are missing, over all tables."""
        return sum(part.missing for part in self.parts)

    @property
    def duplicates(self) -> int:
        """Rows too many, over all tables."""
        return sum(part.duplicates for part in self.parts)

    @property
    def unequal(self) -> int:
        """Projections whose totals are not their table's."""
        return sum(projection.equal is False for projection in self.projections)

    @property
    def holds(self) -> bool:
        """Nothing differs."""
        return not (self.missing or self.duplicates or self.unequal or self.windows.different)
