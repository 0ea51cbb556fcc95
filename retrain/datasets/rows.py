"""What a data set is made of: labelled calls, rows, and what says that two prompts are the same. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct

BUCKETS = 2**32


class LabelledCall(Struct, frozen=True, kw_only=True):
    """One label or correction joined with what was asked. ``tenant`` is the call's, ``kind`` the feedback's."""

    call_id: str
    call_time_ms: int
    label_time_ms: int
    session: str
    tenant: str = ""
    source: str
    kind: str = "label"
    prompt: str
    label: str

    @property
    def holds(self) -> bool:
        """Whether it says that ``label`` is right."""
        return True

    @property
    def about(self) -> tuple[str, str]:
        """What somebody's later word replaces the earlier one on: the prompt's key, and of a thumb the answer."""
        return prompt_key(self.prompt), ""


class AskedCall(Struct, frozen=True, kw_only=True):
    """A call that nobody has told the right answer to."""

    call_id: str
    session: str
    prompt: str


class JudgedCall(LabelledCall, frozen=True, kw_only=True):
    """A thumb joined with what was asked; ``label`` is what was answered."""

    kind: str = "thumb"
    liked: bool

    @property
    def holds(self) -> bool:
        """Whether the thumb was up."""
        return self.liked

    @property
    def about(self) -> tuple[str, str]:
        """The prompt's key, and the answer; runs of blanks count as one."""
        return prompt_key(self.prompt), " ".join(self.label.split())


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One training or scoring row; a file holds one a line.

    Beside the right answer a pair has the one that was given (``rejected``). Of a thumb the answer given is the
    completion, and ``liked`` says what the thumb did.
    """

    prompt: str
    completion: str
    rejected: str = ""
    liked: bool | None = None

    @property
    def content(self) -> tuple[str, str, str, int]:
        """Everything in it, as something that has an order."""
        return self.prompt, self.completion, self.rejected, -1 if self.liked is None else int(self.liked)


def when_told(call: LabelledCall) -> tuple[int, int, str, str, str]:
    """What labels are in order of time by."""
    return call.label_time_ms, call.call_time_ms, call.call_id, call.label, call.source


def prompt_key(prompt: str) -> str:
    """Prompts with the same words are the same prompt, whatever the blanks and capitals."""
    return hashlib.sha256(" ".join(prompt.lower().split()).encode()).hexdigest()


def fraction(purpose: str, text: str) -> float:
    """A number in [0, 1) that depends on the two texts alone: a choice by it repeats."""
    digest = hashlib.sha256(f"{purpose}\x1f{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / BUCKETS


def rows_of(calls: Iterable[LabelledCall]) -> tuple[Row, ...]:
    """Their rows, each once, in an order that depends on the content alone."""
    return in_order(Row(prompt=call.prompt, completion=call.label.strip()) for call in calls)


def in_order(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows, each once, in an order that depends on the content alone."""
    return tuple(sorted(set(rows), key=lambda row: (fraction("order", row.prompt), *row.content)))


def digest_of(train: Iterable[Row], verified: Iterable[Row]) -> str:
    """SHA-256 over the sorted rows: the same content gives the same digest, in whatever order it came."""
    total = hashlib.sha256()
    for name, rows in (("train", train), ("verified", verified)):
        for line in sorted(msgspec.json.encode(row) for row in rows):
            total.update(name.encode() + b"\x1f" + line + b"\n")
    return total.hexdigest()
