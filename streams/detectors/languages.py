"""In how far calls are in other languages than those of a reference: the chance that a call and one of the reference
are in different ones. Where the reference has one language it is the share of calls in others.

It is a mean over calls, so it does not depend on how many there are, and a guess that is wrong now and then is part of
what is usual. Source: the probability of interspecific encounter (Hurlbert, Ecology 1971), between two communities.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from streams.windows.figures import Figure
from streams.windows.tally import Tally, add_counts


class Languages(Struct, omit_defaults=True):
    """The languages of a pipeline's reference. Calls whose language is not known count nowhere."""

    calls: dict[str, int] = field(default_factory=dict)
    """Of the reference, by language."""
    whole: bool = False

    def gather(self, tally: Tally, least: int) -> None:
        """Take the calls of one window into the reference, until it has ``least``."""
        if not self.whole:
            add_counts(self.calls, tally.languages)
            self.whole = sum(self.calls.values()) >= least

    def figure(self, tally: Tally) -> Figure | None:
        """The metric of one window; None while the reference is gathered, and without calls."""
        n = sum(tally.languages.values())
        if not self.whole or not n:
            return None
        each = mismatches(tally.languages, self.calls)
        total = sum(each[language] * calls for language, calls in tally.languages.items())
        total_sq = sum(each[language] ** 2 * calls for language, calls in tally.languages.items())
        return Figure(n, total, total_sq, total / n)


def mismatches(languages: Mapping[str, int], reference: Mapping[str, int]) -> dict[str, float]:
    """By language: the share of the ``reference`` (calls by language, one at least) that is in others."""
    of = sum(reference.values())
    return {language: 1 - reference.get(language, 0) / of for language in languages}
