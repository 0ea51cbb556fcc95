"""What the demo's models learn before the story begins: base corpus and champion rows, seeded, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from random import Random

import msgspec

from producers.language import TextSource, Utterance, generate, talk

SEED = 0
_BASE: tuple[tuple[str, str, int], ...] = (
    ("schedule", "plain", 7_000),
    ("support", "plain", 4_000),
    ("support", "long", 1_500),
)
_BASE_BESIDE_TEXTS = (("schedule", "plain", 5_000),)
TEXT_PASSES = 5
"""How often each real text stands in the base corpus: they are few and hard beside the generated ones."""
_CHAMPION: dict[str, tuple[tuple[str, int], ...]] = {
    "schedule": (("plain", 1_500),),
    "support": (("plain", 1_000), ("long", 500)),
}
TALK = 1_200
"""Phrases the base overhears to get its words."""
GOLDEN = 300
"""Texts of a pipeline's golden set."""
PIPELINES = tuple(_CHAMPION)


def golden(pipeline: str, texts: TextSource | None = None, seed: int = SEED) -> list[Utterance]:
    """The frozen golden set of a pipeline: plain texts that no corpus here holds."""
    if pipeline == "support" and texts is not None:
        return texts.golden()
    return generate(pipeline, "plain", Random(f"golden:{seed}:{pipeline}"), GOLDEN)


def base_rows(texts: TextSource | None = None, seed: int = SEED) -> list[Utterance]:
    """Everything the base model learns: both pipelines' base ways, or the file's known labels as `support`."""
    wanted = _BASE if texts is None else _BASE_BESIDE_TEXTS
    rows = [row for pipeline, way, count in wanted for row in _drawn(pipeline, way, count, "base", seed)]
    if texts is not None:
        rows += texts.training() * TEXT_PASSES
    spoken = Random(f"talk:{seed}")
    return rows + [talk.utterance(spoken) for _ in range(TALK)]


def champion_rows(pipeline: str, texts: TextSource | None = None, seed: int = SEED) -> list[Utterance]:
    """What the first champion of a pipeline learns. KeyError for an unknown pipeline."""
    if pipeline == "support" and texts is not None:
        return texts.training()
    return [row for way, count in _CHAMPION[pipeline] for row in _drawn(pipeline, way, count, "champion", seed)]


def jsonl(rows: Iterable[Utterance]) -> bytes:
    """Rows as the training processes read them."""
    facts = ({"pipeline": row.pipeline, "prompt": row.text, "completion": row.truth} for row in rows)
    return b"".join(msgspec.json.encode(fact) + b"\n" for fact in facts)


def digest(*parts: bytes) -> str:
    """Hex SHA-256 over the parts with their lengths."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def _drawn(pipeline: str, way: str, count: int, purpose: str, seed: int) -> list[Utterance]:
    avoid = {said.text for said in golden(pipeline, seed=seed)}
    return generate(pipeline, way, Random(f"{purpose}:{seed}:{pipeline}:{way}"), count, avoid)
