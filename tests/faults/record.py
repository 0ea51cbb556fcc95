"""What one run of a scenario came to, as one line of ``.cache/faults.jsonl``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

FILE = Path(__file__).parents[2] / ".cache" / "faults.jsonl"


@dataclass(frozen=True)
class Record:
    """Counts; ``lag_s`` is the longest time from a message's arrival in Kafka to its row being seen."""

    scenario: str
    what: str
    seed: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    rows: int = 0
    missing: int = 0
    duplicates: int = 0
    unknown: int = 0
    changed: int = 0
    poison: int = 0
    letters_missing: int = 0
    letters_unknown: int = 0
    letters_repeated: int = 0
    windows: int = 0
    windows_differing: int = 0
    alarms: int = 0
    alarms_lost: int = 0
    alarms_doubled: int = 0
    alarms_repeated: int = 0
    webhooks_lost: int = 0
    webhooks_unknown: int = 0
    webhooks_repeated: int = 0
    audit_differs: int = 0
    """1 where `tidemill audit` found a difference."""
    lag_s: float | None = None
    wall_s: float = 0.0

    @property
    def wrong(self) -> dict[str, int]:
        """What must be zero and is not. Repeats under the same id are no error: readers know them."""
        must_be_zero = (
            "missing duplicates unknown changed letters_missing letters_unknown windows_differing alarms_lost "
            "alarms_doubled webhooks_lost webhooks_unknown audit_differs"
        )
        return {name: getattr(self, name) for name in must_be_zero.split() if getattr(self, name)}

    @property
    def holds(self) -> bool:
        return not self.wrong


def append(record: Record, file: Path = FILE) -> None:
    """Add the line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(msgspec.json.encode(dataclasses.asdict(record)) + b"\n")


def read(file: Path = FILE) -> list[Record]:
    """Every line, oldest first."""
    return [msgspec.json.decode(line, type=Record) for line in file.read_bytes().splitlines()]
