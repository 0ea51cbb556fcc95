"""Which label of a prompt holds, where several were given. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from retrain.datasets.rows import LabelledCall, prompt_key, when_told


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The call whose label holds, by prompt key."""

    calls: dict[str, LabelledCall]
    conflicts: int
    """Prompts with labels that differ."""
    disputed: int
    """Those of them that no label holds for."""
    disputed_labels: int


def holding(calls: Sequence[LabelledCall], trusted: Collection[str]) -> Holding:
    """The label that holds for each prompt.

    The latest trusted one; where there is none, what most tenants say, each by its latest label, and of that the
    latest. Where as many say this as that, the prompt is disputed and has none.
    """
    by_prompt: dict[str, list[LabelledCall]] = {}
    for call in sorted(calls, key=when_told):
        by_prompt.setdefault(prompt_key(call.prompt), []).append(call)
    kept: dict[str, LabelledCall] = {}
    conflicts = disputed_labels = 0
    for key, told in by_prompt.items():
        conflicts += len({_said(call) for call in told}) > 1
        winner = _winner([call for call in told if call.source in trusted] or told, trusted)
        if winner is None:
            disputed_labels += len(told)
        else:
            kept[key] = winner
    return Holding(
        calls=kept, conflicts=conflicts, disputed=len(by_prompt) - len(kept), disputed_labels=disputed_labels
    )


def _winner(told: Sequence[LabelledCall], trusted: Collection[str]) -> LabelledCall | None:
    """``told`` in order of time: all trusted, or none."""
    if told[-1].source in trusted:
        return told[-1]
    latest = {call.tenant: call for call in told}.values()
    (said, most), *others = Counter(_said(call) for call in latest).most_common(2)
    if others and others[0][1] == most:
        return None
    return [call for call in told if _said(call) == said][-1]


def _said(call: LabelledCall) -> str:
    return " ".join(call.label.split())
