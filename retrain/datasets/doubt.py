"""How much of a training one tenant's, or one source's, labels could spoil, and the limit on it. Pure.

Who surely contradicts trusted labels is left out (influence.py). That takes evidence; until there is some, doubt
has to do: the rate of wrong labels that the comparisons with trusted ones still allow, beyond what is usual among the
others. Nobody compared: all of them. A group has so many rows that, were its doubt true, at most ``max_wrong_share`` of
the training were wrong by it. So little evidence costs a large group most of its rows, and a small one none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from retrain.datasets.influence import GROUPS, Compared, Kind, compared, group_named
from retrain.datasets.rows import LabelledCall, fraction
from retrain.gate.paired import highest_rate

C = TypeVar("C", bound=LabelledCall)
ALPHA = 0.05
"""At most the chance that a group's labels are wrong more often than its doubt says."""


@dataclass(frozen=True, kw_only=True)
class Limited:
    """A group that is trained on with fewer rows than it has, and why."""

    kind: Kind
    name: str
    rows: int
    of: int
    own: Compared
    doubt: float
    what: str = "labels"
    """What of theirs was compared."""

    def __str__(self) -> str:
        return (
            f"{group_named(self.kind, self.name)}: {self.rows} of {self.of} rows trained on, as "
            f"{self.own.said(self.what)} and up to {self.doubt:.0%} may be wrong (retrain.max_wrong_share)"
        )


def doubts(groups: Mapping[str, Compared]) -> dict[str, float]:
    """Each group's highest rate of contradictions, less the lowest of all others together; from 0 to 1."""
    total = sum(groups.values(), Compared())
    made = {}
    for name, own in groups.items():
        prompts, wrong = total.prompts - own.prompts, total.contradicted - own.contradicted
        usual = 1 - highest_rate(prompts - wrong, prompts, ALPHA) if prompts else 0.0
        made[name] = max(0.0, highest_rate(own.contradicted, own.prompts, ALPHA) - usual)
    return made


def limited(
    rows: Sequence[C],
    told: Sequence[LabelledCall],
    trusted: Collection[str],
    metric: str,
    share: float,
    among: Sequence[LabelledCall] | None = None,
) -> tuple[list[C], list[Limited]]:
    """The rows without so many of a group's untrusted ones that they could spoil more than ``share`` of what stays.

    ``told`` are all labels of the same time, or all thumbs beside trusted labels, which the groups are judged by. Where
    one group is alone (``among`` these; None: those told) there are no others to be compared with, and all stay. Those
    that stay are chosen by hash of the call.
    """
    everybody = told if among is None else among
    kept, found = list(rows), list[Limited]()
    for kind, group_of in GROUPS.items():
        sizes = Counter(group_of(call) for call in kept if call.source not in trusted)
        if share >= 1 or len({group_of(call) for call in everybody if call.source not in trusted}) < 2:
            continue
        beside = dict.fromkeys(sizes, Compared()) | compared(told, group_of, trusted, metric)
        doubt = doubts(beside)
        most = _most(sizes, doubt, len(kept) - sizes.total(), share)
        ranked = sorted(kept, key=lambda call: (fraction("doubt", call.call_id), call.call_id))
        taken: Counter[str] = Counter()
        kept = []
        for call in ranked:
            if call.source not in trusted:
                taken[group_of(call)] += 1
                if taken[group_of(call)] > most[group_of(call)]:
                    continue
            kept.append(call)
        found += [
            Limited(kind=kind, name=name, rows=most[name], of=size, own=beside[name], doubt=doubt[name])
            for name, size in sorted(sizes.items())
            if most[name] < size
        ]
    return kept, found


def _most(sizes: Mapping[str, int], doubt: Mapping[str, float], free: int, share: float) -> dict[str, int]:
    """The most rows of each group: as large as can be, with doubt times rows within ``share`` of all rows that stay."""
    most = dict(sizes)
    while True:
        total = free + sum(most.values())
        fewer = {
            name: min(size, int(share * total / doubt[name])) if doubt[name] > 0 else size
            for name, size in most.items()
        }
        if fewer == most:
            return most
        most = fewer
