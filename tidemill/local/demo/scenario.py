"""The demo's scenarios as data: what the users do, what must come of it, and which settings differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from producers.language.texts import UNSEEN

TEXTS_LIMIT_S = 25 * 60
Ending = Literal["champion", "rejected", "rolled_back"]


@dataclass(frozen=True)
class Turn:
    """One change of the users and the end it must lead to."""

    pipeline: str
    """The pipeline that must turn."""
    changes: Mapping[str, Mapping[str, Any]]
    """New habits by pipeline; applied all at once."""
    ending: Ending
    note: str
    after_freeze: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """New habits by pipeline, applied once the data set of this turn's job is frozen."""
    freeze_note: str = "the users go back to their old ways"
    """What those new habits are."""
    afterwards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """New habits by pipeline, applied once a new champion serves; its quality is taken from then on."""
    time_limit_s: float = 1_200
    """When the demo gives up on the turn; far beyond the goal, so that a slow machine still closes the loop."""
    champion_within_s: float = 420
    """Goal: seconds from the change to the new champion."""
    after_scores: int = 60
    """Trusted scores of a new champion's answers that the quality after the turn is taken from."""


@dataclass(frozen=True)
class Scenario:
    """A story: a quiet time, then one or more turns."""

    name: str
    gist: str
    """What happens, in a few words for people."""
    turns: tuple[Turn, ...]
    quiet_s: float = 60
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of the settings by dotted name."""


_FIRST: dict[str, dict[str, Any]] = {"schedule": {"way": "words"}, "support": {"way": "long", "rate": 6.0}}

LOOP = Scenario(
    "loop",
    "quality falls, a new version takes over",
    (
        Turn("schedule", _FIRST, "champion", "schedule's users speak anew; support is three times as busy"),
        Turn("support", {"support": {"way": "novel", "rate": 4.0}}, "champion", "support's users ask new things"),
    ),
)

BAD_LABELS = Scenario(
    "bad-labels",
    "the gate must say no",
    (
        Turn(
            "schedule",
            {"schedule": {"way": "words", "wrong_share": 0.5}, "support": {"way": "long", "rate": 6.0}},
            "rejected",
            "schedule's users speak anew, and half of their feedback is corrupted at its source",
        ),
    ),
)

BAD_CANARY = Scenario(
    "bad-canary",
    "the canary must go back",
    (
        Turn(
            "schedule",
            _FIRST,
            "rolled_back",
            "schedule's users speak anew, but only until the data set is frozen: it was a fad",
            after_freeze={"schedule": {"way": "plain"}},
        ),
    ),
    settings={
        "pipelines.schedule.retrain.replay_share": 0.0,
        "pipelines.schedule.gate.golden_set": "",
        "pipelines.schedule.rollout.shadow_percent": 0,
    },
)

SCENARIOS: dict[str, Scenario] = {each.name: each for each in (LOOP, BAD_LABELS, BAD_CANARY)}


def on_texts(rate: float, min_fresh_labels: int) -> Scenario:
    """The loop on real labelled texts as ``support``: the held-back labels arrive at the change."""
    arrival = {"support": {"way": "novel", "rate": rate, "label_share": 1.0}}
    return Scenario(
        "texts",
        "the loop on real labelled texts",
        (
            Turn(
                "support",
                arrival,
                "champion",
                "questions with labels never seen before arrive",
                time_limit_s=TEXTS_LIMIT_S,
                champion_within_s=TEXTS_LIMIT_S,
                after_freeze={"support": {"rate": rate / 2}, "schedule": {"rate": 2.0}},
                freeze_note="fewer calls, so that two cores can train beside them",
                afterwards={"support": {"way": UNSEEN, "rate": rate}},
                after_scores=450,
            ),
        ),
        settings={
            "pipelines.support.retrain.min_fresh_labels": min_fresh_labels,
            "pipelines.support.retrain.collect_deadline_s": 900,
            "pipelines.support.retrain.steps": 1_000,  # real texts are harder: some five passes over the labels
            "pipelines.support.retrain.recipe.keep_weight": 1.0,
            "pipelines.support.retrain.rank": 32,
            "pipelines.support.retrain.alpha": 64,
            "pipelines.support.retrain.learning_rate": 3e-3,
            "pipelines.support.retrain.batch": 32,
            "pipelines.support.retrain.holdout_share": 0.1,
        },
    )
