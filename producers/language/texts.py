"""Real labelled texts (a CSV file) spoken as the `support` pipeline.

A seeded share of the labels is held back, and of each label a share of texts is reserved: no training holds those, so
the answers to them say what a model has understood, not what it has kept. (A retraining leaves out the golden set,
which is the reserved texts of the known labels; those of the others are asked only after it.) Ways of speaking:
    plain   reserved texts of the known labels; `long` is the same
    novel   other texts, also of the held-back labels, which the base model has never seen
    unseen  reserved texts, also of the held-back labels
Reading the file is the only I/O; everything else is a value.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from producers.language.support import LONG, NOVEL, PIPELINE
from producers.language.utterance import PLAIN, Utterance

UNSEEN = "unseen"
RESERVED_SHARE = 0.1
"""Share of each label's texts that are reserved."""


@dataclass(frozen=True, slots=True)
class TextSource:
    """Labelled texts split into known and held-back labels, some texts of each reserved.

    Rows are (text, label) in file order without duplicate texts. The split depends on rows, `hold_back` and `seed`.
    """

    rows: tuple[tuple[str, str], ...]
    known: frozenset[str]
    held_back: frozenset[str]
    reserved: frozenset[str]
    new_share: float = 0.5

    def training(self) -> list[Utterance]:
        """Every text of the known labels that is not reserved, in file order."""
        return [_said(*row, PLAIN) for row in self.of(held_back=False, reserved=False)]

    def golden(self) -> list[Utterance]:
        """The reserved texts of the known labels, in file order."""
        return [_said(*row, PLAIN) for row in self.of(held_back=False, reserved=True)]

    def of(self, *, held_back: bool, reserved: bool) -> list[tuple[str, str]]:
        """(text, label) of one kind, in file order."""
        labels = self.held_back if held_back else self.known
        return [row for row in self.rows if row[1] in labels and (row[0] in self.reserved) == reserved]


class Speaker:
    """Speaks a source's texts; none is asked again before all of its kind have been asked, as a file is finite."""

    def __init__(self, source: TextSource) -> None:
        self._source = source
        self._left: dict[tuple[bool, bool], list[tuple[str, str]]] = {}

    def utterance(self, way: str, rng: Random) -> Utterance:
        """One live text; `novel` and `unseen` draw a held-back label with the source's `new_share`."""
        if way not in (PLAIN, LONG, NOVEL, UNSEEN):
            raise ValueError(f"way of speaking is {way!r}; a text file knows {PLAIN}, {LONG}, {NOVEL}, {UNSEEN}")
        asked_new = way in (NOVEL, UNSEEN) and bool(self._source.held_back)
        new, reserved = asked_new and rng.random() < self._source.new_share, way != NOVEL
        left = self._left.setdefault((new, reserved), [])
        if not left:
            texts = self._source.of(held_back=new, reserved=reserved)
            left += rng.sample(texts, len(texts))
        return _said(*left.pop(), way)


def split(
    rows: Iterable[tuple[str, str]],
    hold_back: float,
    seed: int,
    new_share: float = 0.5,
    reserved_share: float = RESERVED_SHARE,
) -> TextSource:
    """Split labelled texts. At least two known labels stay, and one is held back when `hold_back` > 0.

    ValueError when shares lie outside [0, 1) or the rows have fewer labels than that needs.
    """
    for name, share in (("hold-back", hold_back), ("reserved share", reserved_share)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"{name} is {share}; give a share from 0 up to, but not including, 1")
    unique: dict[str, str] = {}
    for text, label in rows:
        unique.setdefault(text.strip(), label.strip())
    kept = tuple((text, label) for text, label in unique.items() if text and label)
    labels = sorted({label for _, label in kept})
    needed = 3 if hold_back else 2
    if len(labels) < needed:
        raise ValueError(f"the texts have {len(labels)} labels; at least {needed} are needed")
    rng = Random(f"texts:{seed}")
    shuffled = rng.sample(labels, len(labels))
    count = min(len(labels) - 2, max(1, round(len(labels) * hold_back))) if hold_back else 0
    reserved: set[str] = set()
    for label in labels:
        texts = [text for text, its in kept if its == label]
        reserved.update(rng.sample(texts, min(len(texts) - 1, max(1, round(len(texts) * reserved_share)))))
    return TextSource(kept, frozenset(shuffled[count:]), frozenset(shuffled[:count]), frozenset(reserved), new_share)


def read_csv(
    path: Path, text_column: str, label_column: str, hold_back: float, seed: int, new_share: float = 0.5
) -> TextSource:
    """Read a CSV file with a header (UTF-8) and split it. ValueError names a missing column and those there are."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = reader.fieldnames or []
        for option, column in (("--text-column", text_column), ("--label-column", label_column)):
            if column not in columns:
                raise ValueError(f"{option} is {column!r}, but {path.name} has the columns {', '.join(columns)}")
        rows = [(row[text_column] or "", row[label_column] or "") for row in reader]
    return split(rows, hold_back, seed, new_share)


def _said(text: str, label: str, way: str) -> Utterance:
    return Utterance(PIPELINE, text, label, way, {"intent": label})
