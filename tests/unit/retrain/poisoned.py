"""A service of several tenants whose labels, or thumbs, can be wrong; reviewers label a share of the same calls, always
rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from msgspec.structs import asdict

from retrain.datasets.rows import JudgedCall, LabelledCall, Row

ANSWERS = [f"intent_{n}" for n in range(12)]


@dataclass(frozen=True)
class Tenant:
    """Its part of the calls, and of its labels that are wrong."""

    traffic: float
    wrong: float = 0.01
    source: str = "user"


def labelled(tenants: Mapping[str, Tenant], calls: int, reviewed: float, rng: Random) -> list[LabelledCall]:
    """Each call with its tenant's label, some with a reviewer's too. Prompts are all different."""
    names = rng.choices(list(tenants), [each.traffic for each in tenants.values()], k=calls)
    made: list[LabelledCall] = []
    for number, name in enumerate(names):
        wrong = rng.random() < tenants[name].wrong
        said = rng.choice([each for each in ANSWERS if each != right(number)]) if wrong else right(number)
        made.append(call(number, name, said, tenants[name].source))
        if rng.random() < reviewed:
            made.append(call(number, name, right(number), "audit"))
    return made


def judged(told: Sequence[LabelledCall], flipped: Mapping[str, float], good: float, rng: Random) -> list[JudgedCall]:
    """A user's thumb on each call, ``good`` of them answered rightly; of the tenants ``flipped`` a share of thumbs is
    the other way round.
    """
    tenants = {int(each.prompt.removeprefix("question ")): each.tenant for each in told}
    made = []
    for number, name in tenants.items():
        answer = right(number) if rng.random() < good else rng.choice(ANSWERS)
        liked = (answer == right(number)) is not (rng.random() < flipped.get(name, 0.0))
        made.append(JudgedCall(**asdict(call(number, name, answer)) | {"kind": "thumb"}, liked=liked))
    return made


def right(number: int) -> str:
    """The right answer to the call of this number."""
    return ANSWERS[number * 7 % len(ANSWERS)]


def call(number: int, tenant: str, label: str, source: str = "user") -> LabelledCall:
    """One label of the call of this number."""
    return LabelledCall(
        call_id=f"call-{number}",
        call_time_ms=number,
        label_time_ms=number + (10 if source == "audit" else 5),
        session=f"{tenant}-{number % 97}",
        tenant=tenant,
        source=source,
        prompt=f"question {number}",
        label=label,
    )


def poison_in(rows: Sequence[Row]) -> float:
    """The share of rows with a wrong label, or a wrong thumb."""
    wrong = sum(
        (row.completion == right(int(row.prompt.removeprefix("question ")))) is (row.liked is False) for row in rows
    )
    return wrong / len(rows) if rows else 0.0
