"""What is known of an answer before anybody labels it, as one bin of a fixed grid.

The grid never changes, so counts by bin can be added: over seconds, partitions and processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

CONFIDENCE_BANDS = 28
"""Bands of the mean negative log-probability a token, two an octave from 2^-11 (sure) to 2^3 (guessing)."""
NO_CONFIDENCE = CONFIDENCE_BANDS
"""The band of answers without log-probabilities."""
_LOWEST_OCTAVE = -11
_BITS = 5
AGREEMENT_BANDS = 4
"""Bands of self-agreement; band 0 stands for answers that were not asked for twice."""
_AGREEMENTS = AGREEMENT_BANDS + 1
DRIFT_BANDS = (2.0, 4.0)
"""Deviations of the text from its reference: below the first is usual, from the second on far off."""


class Features(NamedTuple):
    """What one answer tells of itself."""

    mean_logprob: float | None
    """Mean natural log-probability of its tokens, at most 0; None where the engine gives none."""
    agreement: float | None = None
    """Share of further samples of the same call that say the same, in [0, 1]; None where there are none."""
    drift: float | None = None
    """How far the text of its time is off, in deviations of the reference; None: not watched, taken as usual."""


def bin_of(features: Features) -> int:
    """The bin of one answer. Bins are in order: usual before drifted, then by agreement, then sure before unsure."""
    return (drift_band(features.drift) * _AGREEMENTS + _agreement(features.agreement)) << _BITS | _confidence(
        features.mean_logprob
    )


def count_bins(answers: Iterable[Features]) -> dict[int, int]:
    """How many of the answers are in each bin: all that an estimate needs to know of unlabelled calls."""
    found: dict[int, int] = {}
    for features in answers:
        number = bin_of(features)
        found[number] = found.get(number, 0) + 1
    return found


def drift_band(drift: float | None) -> int:
    """0 for usual text, up to len(DRIFT_BANDS) for text that is far off."""
    return 0 if drift is None else sum(abs(drift) >= edge for edge in DRIFT_BANDS)


def split_bin(number: int) -> tuple[int, int]:
    """(drift band, the rest): the rest keeps the order by agreement and confidence."""
    return divmod(number, _AGREEMENTS << _BITS)


def split_rest(rest: int) -> tuple[bool, int]:
    """(whether such calls were asked for twice, their confidence alone)."""
    return rest >> _BITS > 0, rest & (1 << _BITS) - 1


def _agreement(agreement: float | None) -> int:
    return 0 if agreement is None else AGREEMENT_BANDS - min(int(agreement * AGREEMENT_BANDS), AGREEMENT_BANDS - 1)


def _confidence(mean_logprob: float | None) -> int:
    if mean_logprob is None or not math.isfinite(mean_logprob):
        return NO_CONFIDENCE
    unsure = max(-mean_logprob, 2.0**_LOWEST_OCTAVE)
    return min(int((math.log2(unsure) - _LOWEST_OCTAVE) * 2), CONFIDENCE_BANDS - 1)
