"""One window while it can change: live while open, compressed bytes once closed. Pure."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from streams.windows.tally import OTHER, TALLY_BYTES, Series, Tally
from tidemill.events import Cell, SliceCell

BUCKET_BYTES = 512
"""What a window itself counts: more than its encoding takes (60), since each is some objects in memory."""


class Bucket(Struct, array_like=True):
    """One window: open, or closed and with late data that has not gone out yet."""

    series: dict[str, Tally] = field(default_factory=dict)
    revision: int = 0
    complete: bool = True
    late: list[str] = field(default_factory=list)
    """Series and slices that got late data since the last revision went out."""
    weight: int = BUCKET_BYTES
    """At most so many bytes it takes encoded."""
    slices: dict[str, Tally] = field(default_factory=dict)
    """The client calls and answers of ``series`` once more, by slice."""

    def add(self, cell: Cell, max_series: int) -> str:
        """Merge a cell into its own series, or into OTHER's where its version is one too many; the series' key."""
        key = Series.key_of(cell)
        tally = self.series.get(key)
        if tally is None and cell.model_version and len(self.series) >= max_series:
            key = Series(OTHER, cell.variant, cell.role).key
            tally = self.series.get(key)
        if tally is None:
            tally = self.series[key] = Tally()
            self.weight += TALLY_BYTES + len(key.encode())
        self.weight += tally.add(cell)
        return key

    def add_slice(self, name: str, cell: SliceCell) -> None:
        """Merge a cell into the slice of this name."""
        tally = self.slices.get(name)
        if tally is None:
            tally = self.slices[name] = Tally()
            self.weight += TALLY_BYTES + len(name.encode())
        self.weight += tally.add(cell)

    def mark_late(self, key: str) -> None:
        """Note that ``key`` has data that no revision has told of."""
        if key not in self.late:
            self.late.append(key)
            self.weight += 8 + len(key.encode())

    def sealed(self) -> bytes:
        """The window as bytes, without words, word sets (by far the largest part), languages: no metric of them is
        revised.
        """
        for tally in self.series.values():
            tally.words, tally.languages, tally.word_sets = {}, {}, {}
        self.late = []
        return zlib.compress(_encoder.encode(self), 1)

    @staticmethod
    def opened(raw: bytes) -> Bucket:
        """The window that ``sealed`` gave."""
        return _decoder.decode(zlib.decompress(raw))


class Closed(NamedTuple):
    """A window to report: all its series and slices where it is the first time, the late ones in revisions."""

    start_ms: int
    revision: int
    complete: bool
    series: dict[str, Tally]
    slices: dict[str, Tally] = {}
    """By name (``tenant=acme``); of each dimension they add up to the clients' series, but for what those alone have:
    scores, histograms, words, languages, word sets."""
    first: bool = True
    """It closes, and is judged; not a revision. At revision 0, but where it was told of too early before."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Bucket)
