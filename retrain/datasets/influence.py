"""Whose labels a training believes, and how much of it one tenant or one source may be.

Labels of trusted sources are believed. Everybody else's are compared with them on the prompts that both have labelled:
who contradicts them surely more often than the others do is left out. A thumb is compared, too: it says of an answer
whether it is right, and so does a trusted label. Pure, and chosen by hash: a snapshot repeats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from retrain.datasets.rows import JudgedCall, LabelledCall, fraction, prompt_key, when_told
from tidemill.scoring import score

ALPHA = 0.05
"""At most the chance that a data set leaves out somebody who contradicts trusted labels within the margin."""
_AGREES = 0.5
"""Least score of a label, or of an answer with a thumb up, that does not contradict the trusted label."""
Kind = Literal["tenant", "source"]
C = TypeVar("C", bound=LabelledCall)
GroupOf = Callable[[LabelledCall], str]
GROUPS: dict[Kind, GroupOf] = {"tenant": lambda call: call.tenant, "source": lambda call: call.source}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Prompts (of thumbs: answers) that trusted labels speak of too, and how many of them were contradicted."""

    prompts: int = 0
    contradicted: int = 0

    def __add__(self, other: Compared) -> Compared:
        return Compared(prompts=self.prompts + other.prompts, contradicted=self.contradicted + other.contradicted)

    def said(self, what: str) -> str:
        """In words; ``what`` was compared: labels, or thumbs."""
        return f"{self.contradicted} of {self.prompts} {what} contradict trusted labels"


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A tenant or source that is left out, and why."""

    kind: Kind
    name: str
    own: Compared
    others: Compared
    what: str = "labels"
    """What of theirs was compared."""

    def __str__(self) -> str:
        others = f"{self.others.contradicted} of {self.others.prompts} of the others'"
        return f"{group_named(self.kind, self.name)} left out: {self.own.said(self.what)}, {others}"


def group_named(kind: Kind, name: str) -> str:
    """A tenant or source in words."""
    return f"{kind} {name!r}" if name else "calls without a tenant"


def suspects(
    parts: Sequence[Sequence[LabelledCall]], trusted: Collection[str], metric: str, margin: float
) -> list[Suspect]:
    """Tenants, then sources, that contradict trusted labels surely more than the others do, by over ``margin``.

    Each of ``parts`` is judged for itself: the fresh labels, so that a good past hides nothing, and all labels, as
    there are more of them. A group alone is never judged: nobody could tell its wrong labels from hard questions.
    Labels are compared by the pipeline's quality ``metric``.
    """
    found: list[Suspect] = []
    tests = 2 * len(parts)
    for kind, group_of in GROUPS.items():
        for part in parts:
            left = [call for call in part if not is_suspect(call, found, trusted)]
            found += _worst(kind, compared(left, group_of, trusted, metric), margin, ALPHA / tests)
    return found


def is_suspect(call: LabelledCall, found: Iterable[Suspect], trusted: Collection[str]) -> bool:
    """Whether a label or thumb is left out; a trusted one never is, whoever's call it is about."""
    return call.source not in trusted and any(GROUPS[each.kind](call) == each.name for each in found)


def beside_trusted(
    told: Iterable[LabelledCall], thumbs: Iterable[JudgedCall], trusted: Collection[str]
) -> list[LabelledCall]:
    """The trusted labels, and beside them the thumbs of all others, to be compared with them."""
    return [
        *(call for call in told if call.source in trusted),
        *(thumb for thumb in thumbs if thumb.source not in trusted),
    ]


def compared(
    calls: Iterable[LabelledCall], group_of: GroupOf, trusted: Collection[str], metric: str
) -> dict[str, Compared]:
    """How each group's labels compare with trusted ones; a group's last word counts, on a prompt or on an answer to it.

    See ``contradicts``.
    """
    ordered = sorted(calls, key=when_told)
    known = trusted_labels(ordered, trusted)
    told = {(group_of(call), call.about): call for call in ordered if call.source not in trusted}
    made: dict[str, Compared] = {}
    for (group, (key, _)), call in told.items():
        wrong = contradicts(call, known.get(key), metric)
        if wrong is not None:
            one = Compared(prompts=1, contradicted=int(wrong))
            made[group] = made.get(group, Compared()) + one
    return made


def trusted_labels(calls: Iterable[LabelledCall], trusted: Collection[str]) -> dict[str, LabelledCall]:
    """The latest trusted label of each prompt that has one, by prompt key."""
    return {prompt_key(call.prompt): call for call in sorted(calls, key=when_told) if call.source in trusted}


def contradicts(call: LabelledCall, known: LabelledCall | None, metric: str) -> bool | None:
    """Whether a label or thumb says another thing than the trusted label; None where they cannot be compared.

    A thumb up contradicts as a label would that is the answer; a thumb down, where the answer is wholly right.
    """
    worth = None if known is None else score(metric, call.label, known.label)
    if worth is None:
        return None
    return worth < _AGREES if call.holds else worth >= 1.0


def chance(own: Compared, others: Compared, margin: float, alpha: float) -> float:
    """The chance of contradicting so often at the others' rate and ``margin`` more; 1 where nothing can be said.

    The others' rate is not known but bounded, at a tenth of ``alpha``, which is added (Berger and Boos 1994): so it is
    a p-value whatever that rate is. Imports scipy.
    """
    from scipy.stats import beta, binom  # a second to import, needed by the snapshot alone

    if not own.prompts or others.contradicted >= others.prompts:
        return 1.0
    reserve = alpha / 10
    highest = float(beta.ppf(1 - reserve, others.contradicted + 1, others.prompts - others.contradicted))
    if highest + margin >= 1:
        return 1.0
    return float(binom.sf(own.contradicted - 1, own.prompts, highest + margin)) + reserve


def capped(calls: Sequence[C], group_of: GroupOf, trusted: Collection[str], share: float, least: int) -> list[C]:
    """The calls, without so many of a group's untrusted labels that it would be more than ``share`` of what stays.

    Where one group is alone there is nothing to balance, and all stay; of few groups each may be its equal part. Never
    goes below ``least`` calls. Those that stay are chosen by hash of the call.
    """
    sizes = Counter(group_of(call) for call in calls if call.source not in trusted)
    if len(sizes) < 2 or share >= 1:
        return list(calls)
    level = _level(sizes.values(), len(calls) - sizes.total(), max(share, 1 / len(sizes)), least)
    ranked = sorted(calls, key=lambda call: (fraction("influence", call.call_id), call.call_id))
    taken: Counter[str] = Counter()
    kept: list[C] = []
    for call in ranked:
        if call.source not in trusted:
            taken[group_of(call)] += 1
            if taken[group_of(call)] > level:
                continue
        kept.append(call)
    return kept


def _level(sizes: Collection[int], free: int, share: float, least: int) -> int:
    """The most calls of a group: the largest number that keeps to ``share``, or that leaves ``least`` in all."""
    low, high = 0, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        total = free + sum(min(size, middle) for size in sizes)
        below = free + sum(min(size, middle - 1) for size in sizes) < least
        if middle <= share * total or below:
            low = middle
        else:
            high = middle - 1
    return low


def _worst(kind: Kind, groups: dict[str, Compared], margin: float, alpha: float) -> list[Suspect]:
    """Groups beyond chance, the worst first; those that remain are judged anew without it."""
    found: list[Suspect] = []
    each = alpha / max(1, len(groups))
    left = dict(groups)
    while len(left) > 1:
        total = sum(left.values(), Compared())
        tried = []
        for name, own in left.items():
            others = Compared(prompts=total.prompts - own.prompts, contradicted=total.contradicted - own.contradicted)
            tried.append((chance(own, others, margin, each), name, own, others))
        p_value, name, own, others = min(tried, key=lambda one: one[:2])
        if p_value > each:
            break
        found.append(Suspect(kind=kind, name=name, own=own, others=others))
        del left[name]
    return found
