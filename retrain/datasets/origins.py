"""Where a data set's rows come from: sources with their licences, tenants, and when the calls were made. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retrain.datasets.influence import GROUPS, Compared, GroupOf, Suspect, beside_trusted, compared
from retrain.datasets.rows import JudgedCall, LabelledCall
from retrain.datasets.rules import Rules

NOT_STATED = "not stated"


def origins(
    told: Sequence[LabelledCall],
    trained: Sequence[LabelledCall],
    suspects: Iterable[Suspect],
    rules: Rules,
    thumbs: Sequence[JudgedCall] = (),
) -> dict[str, Any]:
    """By source and by tenant: labels told, rows trained on, and how the labels compare with trusted ones; and the same
    of ``thumbs``, where there are any. Beside it ``train_calls_ms`` (see ``span_ms``).

    ``told`` are all labels, fresh and older; ``trained`` the calls of the training rows. Of ``compared`` prompts a
    trusted source told another label for ``contradicted``.
    """
    left_out = {(each.kind, each.name) for each in suspects}
    made: dict[str, Any] = {}
    for kind, group_of in GROUPS.items():
        labels, rows = Counter(map(group_of, told)), Counter(map(group_of, trained))
        beside = compared(told, group_of, rules.trusted_sources, rules.metric)
        judged = _judged(told, thumbs, group_of, rules) if thumbs else {}
        made[f"{kind}s"] = {
            name: _figures(labels[name], rows[name], beside.get(name, Compared()), (kind, name) in left_out)
            | judged.get(name, {})
            | (_standing(name, rules) if kind == "source" else {})
            for name in sorted({*labels, *judged})
        }
    return made | {"train_calls_ms": span_ms(trained)}


def kinds(calls: Iterable[LabelledCall]) -> Mapping[str, int]:
    """How many labels and corrections there are among them."""
    counted = Counter(call.kind for call in calls)
    return {f"{kind}s": counted[kind] for kind in ("label", "correction")}


def span_ms(calls: Iterable[LabelledCall]) -> tuple[int, int] | None:
    """The times of the first and the last call; None where there is none."""
    times = [call.call_time_ms for call in calls]
    return (min(times), max(times)) if times else None


def _judged(
    told: Sequence[LabelledCall], thumbs: Sequence[JudgedCall], group_of: GroupOf, rules: Rules
) -> dict[str, dict[str, int]]:
    given, trusted = Counter(map(group_of, thumbs)), rules.trusted_sources
    beside = compared(beside_trusted(told, thumbs, trusted), group_of, trusted, rules.metric)
    made = {}
    for name, number in given.items():
        own = beside.get(name, Compared())
        made[name] = {"thumbs": number, "thumbs_compared": own.prompts, "thumbs_contradicted": own.contradicted}
    return made


def _figures(labels: int, rows: int, beside: Compared, left_out: bool) -> dict[str, Any]:
    return {
        "labels": labels,
        "train": rows,
        "compared": beside.prompts,
        "contradicted": beside.contradicted,
        "left_out": left_out,
    }


def _standing(source: str, rules: Rules) -> dict[str, Any]:
    return {
        "trusted": source in rules.trusted_sources,
        "licence": rules.licences.get(source, NOT_STATED),
    }
