"""A champion's adapter merged into its base: one model, for a champion that stays, or as a base of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrain.adapter import WEIGHTS, file_digest
from retrain.derived.derived import Made, derive


def merge(
    base: Path, adapter: Path, out: Path, prompts: Sequence[str], *, least: float, max_tokens: int, threads: int
) -> dict[str, Any]:
    """Write the merged model to ``out`` and say how many answers are those of base and adapter.

    Imports torch (seconds). Raises Refused.
    """

    def make(folder: Path) -> Made:
        from transformers import AutoTokenizer

        from retrain.model.answers import Answerer, loaded

        loaded(base, adapter).save_pretrained(folder, safe_serialization=True, max_shard_size="1TB")
        AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)
        before = Answerer(base, adapter, threads).answers(prompts, max_tokens)
        return before, Answerer(folder, None, threads).answers(prompts, max_tokens)

    facts = {"made_by": "merge", "adapter_digest": file_digest(adapter / WEIGHTS)}
    return derive(base, out, make, least, facts)
