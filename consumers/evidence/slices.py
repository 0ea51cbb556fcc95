"""Which slice of the calls explains a change: a search over all values of all dimensions. Pure and deterministic.

A slice is telling when leaving it out takes away at least ENOUGH of the change, and chance would let no slice do that
as clearly in more than 1 of 100 alarms. The second is a permutation test: on each side the values are dealt anew to the
calls, and the clearest of *all* slices counts, so that many slices are no better a lottery than one (Westfall and
Young, "Resampling-Based Multiple Testing", 1993). The statistic is studentized, so that slices whose level differed
from the start are judged fairly, too (Chung and Romano, "Exact and asymptotically robust permutation tests", 2013).

The test takes calls as independent. Where a few sessions make most calls it finds too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from consumers.evidence.decompose import Numbers, Sums, kitagawa, left_out
from tidemill.evidence import Found, Slice
from tidemill.slices import ATTRIBUTE

FEW_CALLS = 30
"""A value with fewer calls, both sides together, is put with the rest of its dimension; beside a value each side needs
so many, too."""
MOST_DIMENSIONS, MOST_VALUES = 24, 20
MOST_CHARS = 80
ENOUGH = 0.5
LEVEL = 0.01
SURE = 3.0
"""Standard errors that the whole change must have, or there is nothing to explain."""
NEARLY = 0.8
DEALS = 499
_FEW_SHARE, _MOST_SHARE = 0.05, 0.95
Mask = NDArray[np.bool_]


class Row(NamedTuple):
    """What the search looks at of a call."""

    value: float
    slices: Mapping[str, str]


class Answer(NamedTuple):
    """The slices, the telling ones first, and how many of them are."""

    found: Found
    slices: tuple[Slice, ...]
    telling: int


class _Part(NamedTuple):
    dimension: str
    value: str
    rest: bool


def search(before: Sequence[Row], after: Sequence[Row], seed: int = 0) -> Answer:
    """Every slice with its part in the change of the mean; equal rows and seed, equal answer."""
    if min(len(before), len(after)) < FEW_CALLS:
        return Answer("too_few_calls", (), 0)
    values = np.array([row.value for row in (*before, *after)])
    late = np.arange(len(values)) >= len(before)
    parts, members = _parts([row.slices for row in (*before, *after)])
    made = _described(parts, members, values, late)
    whole0, whole1 = _whole(values[~late]), _whole(values[late])
    change = float(whole1.total / whole1.n - whole0.total / whole0.n)
    error = np.sqrt(values[~late].var() / len(before) + values[late].var() / len(after))
    if abs(change) <= SURE * error:
        return Answer("unchanged", _ranked(made, change), 0)
    scale = float(np.abs(values).max())
    made = _tested(made, members, values / scale, late, change / scale, seed)
    telling = sorted((each for each in made if _is_telling(each)), key=lambda each: _narrowness(each, made))
    others = [each for each in made if each not in telling]
    return Answer("slice" if telling else "none", (*telling, *_ranked(others, change)), len(telling))


def _parts(labels: Sequence[Mapping[str, str]]) -> tuple[list[_Part], Numbers]:
    """The parts of each dimension that has two at least, and who belongs to them: calls × parts."""
    often = Counter(name for each in labels for name in each)
    names = sorted(often, key=lambda name: (name.startswith(ATTRIBUTE), -often[name], name))[:MOST_DIMENSIONS]
    parts, members = [], []
    for name in names:
        given = [each.get(name, "")[:MOST_CHARS] for each in labels]
        counts = Counter(given)
        kept = sorted((v for v in counts if counts[v] >= FEW_CALLS), key=lambda v: (-counts[v], v))[:MOST_VALUES]
        codes = {value: code for code, value in enumerate(kept)}
        of = np.array([codes.get(value, len(kept)) for value in given])
        found = [_Part(name, value, rest=False) for value in kept]
        if len(kept) < len(counts):
            found.append(_Part(name, "", rest=True))
        if len(found) > 1:
            parts += found
            members += [of == code for code in range(len(found))]
    return parts, np.array(members, dtype=np.float64).T.reshape(len(labels), len(parts))


def _described(parts: list[_Part], members: Numbers, values: Numbers, late: Mask) -> list[Slice]:
    """Shares, means and contributions, dimension by dimension."""
    sides = [_sums(members[side], values[side]) for side in (~late, late)]
    calls = [int((~late).sum()), int(late.sum())]
    made: list[Slice] = []
    for name in dict.fromkeys(part.dimension for part in parts):
        at = [index for index, part in enumerate(parts) if part.dimension == name]
        before, after = (Sums(*(of[at] for of in side)) for side in sides)
        split = kitagawa(before, after)
        for place, index in enumerate(at):
            ns, totals = (before.n[place], after.n[place]), (before.total[place], after.total[place])
            shares = [float(n / count) for n, count in zip(ns, calls, strict=True)]
            means = [float(total / n) if n else None for total, n in zip(totals, ns, strict=True)]
            made.append(
                Slice(
                    dimension=name,
                    value=parts[index].value,
                    rest=parts[index].rest,
                    calls_before=int(ns[0]),
                    calls_after=int(ns[1]),
                    share_before=shares[0],
                    share_after=shares[1],
                    mean_before=means[0],
                    mean_after=means[1],
                    within=float(split.within[place]),
                    mix=float(split.mix[place]),
                    coincides=shares[0] <= _FEW_SHARE and shares[1] >= _MOST_SHARE and not parts[index].rest,
                )
            )
    return made


def _tested(made: list[Slice], members: Numbers, values: Numbers, late: Mask, change: float, seed: int) -> list[Slice]:
    """The slices with what of the change each explains, and how easily chance would do as well."""
    count0, count1 = int((~late).sum()), int(late.sum())
    open_ = [
        index
        for index, each in enumerate(made)
        if not each.rest and min(count0 - each.calls_before, count1 - each.calls_after) >= FEW_CALLS
    ]
    if not open_:
        return made
    members = members[:, open_]
    sides = [(_sums(members[side], values[side]), _whole(values[side])) for side in (~late, late)]
    gone, error = left_out(sides[0][0], sides[1][0], sides[0][1], sides[1][1])
    best = _by_chance([(members[side], values[side]) for side in (~late, late)], change, seed)
    statistic = np.sign(change) * gone / error
    p_values = (1 + (best[None, :] >= statistic[:, None]).sum(axis=1)) / (1 + DEALS)
    tested = dict(zip(open_, zip(gone / change, p_values, strict=True), strict=True))
    return [
        each
        if index not in tested
        else replace(each, explains=float(tested[index][0]), p_value=float(tested[index][1]))
        for index, each in enumerate(made)
    ]


def _by_chance(sides: Sequence[tuple[Numbers, Numbers]], change: float, seed: int) -> Numbers:
    """The best statistic of all slices that explain ENOUGH, in each of DEALS dealings of the values to the calls of
    their side; minus infinity where none does. The dealings leave the change as it is.
    """
    chance = np.random.default_rng(seed)
    sums = []
    for members, values in sides:
        dealt = chance.permuted(np.repeat(values[:, None], DEALS, axis=1), axis=0)
        counts = members.sum(axis=0)[:, None]
        sums.append((Sums(counts, members.T @ dealt, members.T @ dealt**2), _whole(values)))
    gone, error = left_out(sums[0][0], sums[1][0], sums[0][1], sums[1][1])
    best: Numbers = np.where(gone / change >= ENOUGH, np.abs(gone) / error, -np.inf).max(axis=0)
    return best


def _sums(members: Numbers, values: Numbers) -> Sums:
    return Sums(members.sum(axis=0), members.T @ values, members.T @ values**2)


def _whole(values: Numbers) -> Sums:
    return Sums(np.array(float(len(values))), values.sum(), (values**2).sum())


def _is_telling(each: Slice) -> bool:
    if each.coincides:
        return True
    return each.explains is not None and each.p_value is not None and each.explains >= ENOUGH and each.p_value <= LEVEL


def _narrowness(each: Slice, made: Sequence[Slice]) -> tuple[bool, float, float]:
    """The narrowest first among those that explain nearly as much as the best; a tie goes to what has grown."""
    best = max((min(one.explains or 0.0, 1.0) for one in made if _is_telling(one)), default=0.0)
    share = (each.share_before + each.share_after) / 2
    explains = 1.0 if each.coincides else each.explains or 0.0
    return explains < NEARLY * best, share, -each.share_after


def _ranked(slices: Sequence[Slice], change: float) -> tuple[Slice, ...]:
    """By contribution in the direction of the change, the largest first."""
    return tuple(sorted(slices, key=lambda each: -each.contribution * np.sign(change)))
