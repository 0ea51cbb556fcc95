"""Silences that people make by command: each record is the whole state of one."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tidemill.events.types import Id, Ms, Name, SchemaVersion

Pattern = Annotated[str, Meta(max_length=256, description="a regular expression for the whole value")]
Match = Annotated[dict[Name, Pattern], Meta(min_length=1, max_length=16)]
Comment = Annotated[str, Meta(min_length=1, max_length=1_000)]


class Silence(Struct, frozen=True, kw_only=True):
    """A stretch of time in which alarms that match are not told. Compacted, keyed by its id.

    It counts from ``start_ms`` until ``end_ms``, but only from when the topic has it; ``expired``: it ends as the topic
    gets this record (see tidemill.silences).
    """

    schema: SchemaVersion = 1
    silence_id: Id
    match: Match
    """Regular expression by label of an alert."""
    start_ms: Ms
    end_ms: Ms
    comment: Comment
    created_by: Name
    expired: bool = False
