"""How users of one pipeline behave at the moment: how often they call, how they speak, what feedback they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from producers.language import Utterance, corrupt, utterance

AUDIT = "audit"
"""The source of trusted reviewers; the gateway takes it with an audit key only."""

Speak = Callable[[str, Random], Utterance]
"""(way of speaking, rng) → what one user says and the right answer to it."""


@dataclass(frozen=True)
class Habits:
    """Users of one pipeline. Rates are calls per second, shares are in [0, 1]."""

    pipeline: str
    rate: float
    way: str = "plain"
    label_share: float = 0.8
    """Share of calls for which the right answer is told afterwards."""
    audit_share: float = 0.35
    """Share of those labels that come from trusted reviewers (source ``AUDIT``) instead of the users."""
    wrong_share: float = 0.0
    """Share of users' labels that are corrupted at their source; reviewers' never are."""
    thumb_share: float = 0.2
    stream_share: float = 0.5
    """Share of calls that ask for a stream."""
    sessions: int = 200
    """Live sessions; each ends after a few calls and another takes its place."""
    feedback_delay_s: tuple[float, float] = (0.5, 2.0)
    speak: Speak | None = field(default=None, compare=False)
    """Where the words come from; None: the demo's own language."""

    def say(self, rng: Random) -> Utterance:
        """What one user says now, and the right answer."""
        return self.speak(self.way, rng) if self.speak is not None else utterance(self.pipeline, self.way, rng)


@dataclass(frozen=True)
class Opinion:
    """One piece of feedback a user (or reviewer) is going to give."""

    kind: str
    source: str
    value: str | None = None
    score: float | None = None


def opinions(habits: Habits, said: Utterance, answer: str, rng: Random) -> list[Opinion]:
    """The feedback on one answer, from the generator's truth: a label or correction, a thumb, both or none."""
    given: list[Opinion] = []
    right = answer.strip() == said.truth.strip()
    if rng.random() < habits.label_share:
        audited = rng.random() < habits.audit_share
        truth = said.truth
        if not audited and rng.random() < habits.wrong_share:
            truth = corrupt(said, rng).truth
        kind = "label" if right or rng.random() < 0.5 else "correction"
        given.append(Opinion(kind, AUDIT if audited else "user", value=truth))
    if rng.random() < habits.thumb_share:
        honest = rng.random() < 0.95
        given.append(Opinion("thumb", "user", score=1.0 if right == honest else 0.0))
    return given
