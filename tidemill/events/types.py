"""Field types shared by the events: their bounds are part of the contract."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

SchemaVersion = Literal[1]
Ms = Annotated[int, Meta(ge=0, le=4_102_444_800_000, description="epoch milliseconds, at most the year 2100")]
DurationMs = Annotated[float, Meta(ge=0, le=86_400_000, description="milliseconds, at most a day")]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Offset = Annotated[int, Meta(ge=0, le=9_223_372_036_854_775_807)]
MAX_NAME = 256
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Language = Annotated[
    str, Meta(pattern="^([a-z]{2,3})?$", description="ISO 639 code, two letters where there are; empty: not known")
]
WordSet = Annotated[
    str, Meta(pattern="^([0-9a-v]{2}){1,64}$", description="hash buckets of words, two characters each")
]
Uuid = Annotated[
    str, Meta(pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", description="a lower-case UUID")
]
Unit = Annotated[float, Meta(ge=0, le=1, description="a share or score in [0, 1]")]
MAX_MICROS = 9_000_000_000_000_000
"""Whole numbers up to here are exact as floats, so sums of them are."""
Micros = Annotated[int, Meta(ge=0, le=MAX_MICROS, description="millionths of the currency unit")]

Variant = Literal["champion", "canary", "shadow", "cache"]
Status = Literal["ok", "error", "timeout", "cancelled", "rejected"]
FeedbackKind = Literal["thumb", "rating", "correction", "label", "judge", "score"]
