"""Whether a model still answers fixed prompts as it did: what tells of a provider's silent change. Pure.

At temperature 0 real engines still vary a little, so the usual agreement is learned: the first half of the learning
rounds gives each prompt its reference (the most frequent answer), the second half how often answers equal it. A lower
bound of that share (Clopper-Pearson, at CONFIDENCE) is what the detector holds the mean of later rounds to.

**The promise.** While an answer equals its reference at least as often as the bound says, given all that was before,
there is at most one false alarm in ``run_length`` rounds on average (streams.detectors.bounded). The bound itself is
wrong with a chance of at most 1 - CONFIDENCE, if the answers of the learning rounds do not hang together; prompts may
differ in how much they vary (Hoeffding 1956: the binomial has the heavier tail). A provider whose answers depend on
the hour wants learning rounds that cover the day.

Answers are kept as hashes and lengths only. An alarm ends when the answers there are now have been learned.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, structs

from tidemill.codec import encode
from tidemill.settings.host import ProbeSettings
from tidemill.troubles import LONGEST_NAME, Trouble

if TYPE_CHECKING:
    from streams.detectors.bounded import Bounded

PROBE, PROBE_IDENTITY = "probe", "probe_identity"
RULES = (PROBE, PROBE_IDENTITY)
ENDINGS = {PROBE: "is judged by the new answers from now on", PROBE_IDENTITY: "is known from now on"}
CONFIDENCE = 0.99
LEAST_BOUND = 0.05
"""With a lower one the answers differ so much from each other that a change would not show."""
MANY = 32
"""Identities kept at most."""
PROMPTS = (
    "List the first ten prime numbers, separated by commas.",
    "Explain in two sentences why the sky is blue.",
    "Translate to French: The train leaves at seven and arrives before noon.",
    "Write a haiku about a mill by the sea.",
    "Return a JSON object with the keys name, age and city for an invented person.",
    "Which is larger, 7/12 or 5/8? Show the calculation.",
    "Name three uses of a brick other than building.",
    "Summarise in one sentence: a tide is the rise and fall of the sea caused by the moon and the sun.",
)
"""Asked where the settings name none."""


class Fingerprint(Struct, frozen=True):
    """What is kept of one answer: nothing that could be read back."""

    answer: str
    """First half of the SHA-256 of the text."""
    chars: int
    finish_reason: str = ""


class Round(NamedTuple):
    """One round: a fingerprint a prompt, in order."""

    time_ms: int
    answers: tuple[Fingerprint, ...]
    identities: frozenset[str]
    """What the provider says of the model that answered: its name and ``system_fingerprint``."""


class Changed(Struct, frozen=True):
    """An alarm that is open until the new answers have been learned."""

    share: float
    chars: float
    """Mean length of the answers that raised it."""
    before_chars: float
    usual: float
    bound: float
    since_ms: int


class ProbeState(Struct, frozen=True):
    """All that is known of one engine; kept over a restart."""

    asked: str
    """Digest of what is asked: other questions begin anew."""
    learning: tuple[tuple[Fingerprint, ...], ...] = ()
    reference: tuple[Fingerprint, ...] = ()
    usual: float = 0.0
    """Share of answers that equalled the reference while it was learned."""
    bound: float = 0.0
    sums: tuple[float, ...] | None = None
    """The detector's."""
    share: float | None = None
    """Of the last round; None while learning."""
    low_since_ms: int | None = None
    """Since when each round's share has been below the bound."""
    known: tuple[str, ...] = ()
    news: tuple[str, ...] = ()
    """Identities that the last round brought."""
    changed: Changed | None = None


def fingerprint(answer: Mapping[str, Any]) -> tuple[Fingerprint, str]:
    """Of a chat completion's body: the fingerprint, and the identity. Raises ValueError where it is no such body."""
    try:
        choice = answer["choices"][0]
        text = str(choice["message"].get("content") or "")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no chat completion: {type(error).__name__} {error}") from error
    said = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
    model, system = str(answer.get("model") or ""), str(answer.get("system_fingerprint") or "")
    identity = f"{model[:100]} ({system[:100]})" if system else model[:100]
    return Fingerprint(said, len(text), str(choice.get("finish_reason") or "")[:32]), identity


def asked(settings: ProbeSettings, model: str) -> str:
    """Digest of what is asked."""
    questions = [model, settings.max_tokens, settings.learn_rounds, *(settings.prompts or PROMPTS)]
    return hashlib.sha256(encode(questions)).hexdigest()


def lower_bound(equal: int, of: int, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson's one-sided lower bound of a share."""
    from scipy.stats import beta  # a second to import, needed once in many rounds

    return float(beta.ppf(1 - confidence, equal, of - equal + 1)) if equal else 0.0


def take(state: ProbeState, seen: Round, settings: ProbeSettings) -> ProbeState:
    """The state after one more round."""
    news = tuple(sorted(seen.identities - set(state.known) - {""}))
    known = (*state.known, *news)[-MANY:]
    state = structs.replace(state, known=known, news=news if state.reference else ())
    if not state.reference:
        learning = (*state.learning, seen.answers)
        state = structs.replace(state, learning=learning)
        return _learned(state) if len(learning) >= settings.learn_rounds else state
    share = agreement(state.reference, seen.answers)
    low = share < state.bound
    since_ms = (state.low_since_ms or seen.time_ms) if low else None
    state = structs.replace(state, share=share, low_since_ms=since_ms)
    detector = _detector(state, settings)
    if detector is None:
        return state
    detector.update(share)
    if not detector.drift_detected:
        return structs.replace(state, sums=detector.snapshot().sums)
    changed = Changed(
        share=share,
        chars=_chars(seen.answers),
        before_chars=_chars(state.reference),
        usual=state.usual,
        bound=state.bound,
        since_ms=since_ms or seen.time_ms,
    )
    return ProbeState(asked=state.asked, known=state.known, news=state.news, share=share, changed=changed)


def agreement(reference: Sequence[Fingerprint], answers: Sequence[Fingerprint]) -> float:
    """Share of answers that equal the reference's."""
    equal = sum(one.answer == other.answer for one, other in zip(reference, answers, strict=True))
    return equal / len(reference)


def metrics(engine: str) -> tuple[str, str]:
    """Of the two alarms: agreement, identity."""
    return f"probe_agreement/{engine}"[:LONGEST_NAME], f"probe_identity/{engine}"[:LONGEST_NAME]


def troubles(engine: str, state: ProbeState, now_ms: int) -> list[Trouble]:
    """What is wrong with the engine's answers now."""
    found = []
    agreeing, identity = metrics(engine)
    if (changed := state.changed) is not None:
        found.append(
            Trouble(
                rule=PROBE,
                metric=agreeing,
                value=round(changed.share, 4),
                threshold=round(changed.bound, 4),
                reference=round(changed.usual, 4),
                since_ms=changed.since_ms,
                cause=str(changed.since_ms),
                summary=f"{engine}: the model answers otherwise: {changed.share:.0%} of the probes' answers equal the "
                f"reference's, usually {changed.usual:.0%}; {changed.chars:.0f} characters on average, "
                f"{changed.before_chars:.0f} before",
            )
        )
    if state.news:
        before = ", ".join(name for name in state.known if name not in state.news)[-300:]
        found.append(
            Trouble(
                rule=PROBE_IDENTITY,
                metric=identity,
                value=len(state.news),
                threshold=0,
                since_ms=now_ms,
                cause=":".join(state.news),
                summary=f"{engine}: answers come from {', '.join(state.news)}; before: {before or 'unknown'}",
                severity="ticket",
            )
        )
    return found


def _learned(state: ProbeState) -> ProbeState:
    """The reference, its usual agreement and the bound; an open alarm is over with it."""
    half = len(state.learning) // 2
    by_prompt = list(zip(*state.learning[:half], strict=True))
    reference = tuple(_most_frequent(answers) for answers in by_prompt)
    later = state.learning[half:]
    equal = sum(round(agreement(reference, answers) * len(reference)) for answers in later)
    of = len(later) * len(reference)
    return ProbeState(
        asked=state.asked, known=state.known, reference=reference, usual=equal / of, bound=lower_bound(equal, of)
    )


def _most_frequent(answers: Sequence[Fingerprint]) -> Fingerprint:
    chosen = Counter(each.answer for each in answers).most_common(1)[0][0]
    return next(each for each in answers if each.answer == chosen)


def _detector(state: ProbeState, settings: ProbeSettings) -> Bounded | None:
    """The detector where it stands; None where the answers vary too much for one."""
    if state.bound < LEAST_BOUND:
        return None
    from streams.detectors.betting import SumsState
    from streams.detectors.bounded import Bounded  # river behind it is large, and most machines probe nothing

    made = Bounded(settings.run_length, low=state.bound)
    if state.sums is not None:
        made.restore(SumsState(state.sums))
    return made


def _chars(answers: Sequence[Fingerprint]) -> float:
    return sum(each.chars for each in answers) / len(answers)
