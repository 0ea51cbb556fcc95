"""One thing a demo user says, together with the right answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Utterance:
    """A user's text and its truth.

    `text` is what goes to the pipeline as the user message, `truth` the exact answer a right model gives,
    `way` the way of speaking it was drawn from, `fields` the parts the truth is made of (names to text).
    """

    pipeline: str
    text: str
    truth: str
    way: str
    fields: Mapping[str, str] = field(default_factory=dict)
