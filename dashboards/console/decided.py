"""What was decided on triggers of a retraining, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.clock import rfc3339
from tidemill.events import RetrainDecision
from tidemill.events.lifecycle import TriggerKind


@dataclass(frozen=True)
class Line:
    """One decision."""

    time_ms: int
    icon: str
    colour: str
    headline: str
    reasons: tuple[str, ...]
    figures: str


_TRIGGERS: dict[TriggerKind, str] = {
    "quality": "quality alarm",
    "drift": "drift notice",
    "schedule": "schedule",
    "age": "old data",
    "order": "order",
}
_HOURS = 3600


def lines(decisions: tuple[RetrainDecision, ...]) -> list[Line]:
    """As given, newest first."""
    return [_line(each) for each in decisions]


def verdict(said: RetrainDecision) -> str:
    """What was decided, in a word or two; when it is looked at again."""
    if said.act == "open":
        return "begins"
    if said.act == "ignore" or said.again_ms is None:
        return "no retraining"
    return "not now"


def figures(said: RetrainDecision) -> str:
    """The figures that it was made from, those that are known."""
    known = {name: value for name, value in said.signals.items() if value is not None}
    told = []
    if "loss" in known:
        told.append(f"loss {known['loss']:.2f}")
    if "fresh_labels" in known:
        told.append(f"{known['fresh_labels']:,.0f} fresh labels of {known.get('needed_labels', 0):,.0f}")
    if "data_age_days" in known:
        told.append(f"data {known['data_age_days']:.1f} days old")
    if "gain_usd" in known:
        told.append(f"gain {known['gain_usd']:,.2f} USD expected")
    if "cost_usd" in known:
        told.append(f"cost {known['cost_usd']:,.2f} USD expected")
    for name, budget, words in (
        ("spent_gpu_s", "budget_gpu_s", "GPU"),
        ("spent_all_gpu_s", "budget_all_gpu_s", "GPU of all pipelines"),
    ):
        if budget in known:
            told.append(f"{words} {known.get(name, 0) / _HOURS:.2f} of {known[budget] / _HOURS:g} h")
    return " · ".join(told)


def _line(said: RetrainDecision) -> Line:
    icon, colour = ("play_circle", "teal") if said.act == "open" else ("block", "grey")
    if said.act == "decline" and said.again_ms is not None:
        icon, colour = "hourglass_empty", "amber"
    attempt = f", attempt {said.attempt + 1}" if said.attempt else ""
    reasons = said.reasons
    if said.again_ms is not None and said.again_ms > said.time_ms:
        reasons = (*reasons, f"looked at again from {rfc3339(said.again_ms)[:16]}Z on")
    headline = f"{_TRIGGERS[said.trigger]}{attempt}: {verdict(said)}"
    return Line(said.time_ms, icon, colour, headline, reasons, figures(said))
