"""Which rows are trained on, out of the calls that could be: no leaks, no repeats, nobody's too many.

Whatever has to be chosen is chosen by hash of the call, so that a snapshot repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from retrain.datasets.doubt import Limited, limited
from retrain.datasets.influence import GROUPS, capped
from retrain.datasets.nearness import Near
from retrain.datasets.rows import LabelledCall, Row, fraction
from retrain.datasets.rules import Rules
from tidemill.redaction import redact

C = TypeVar("C", bound=LabelledCall)


class Choice:
    """Chooses rows near none of ``judging`` (what the gate judges by), and none near one that was chosen before.

    The counters say what was left out, and how many prompts were scrubbed.
    """

    def __init__(self, judging: Iterable[Row], rules: Rules) -> None:
        self._rules = rules
        self._judging, self._chosen = Near(rules.near_duplicate), Near(rules.near_duplicate)
        for row in judging:
            self._judging.add(row.prompt, row.completion)
        self.limited: list[Limited] = []
        self.doubtful = self.private_labels = self.leaks = self.near_duplicates = self.above_share = self.scrubbed = 0

    def fresh(
        self,
        calls: Iterable[C],
        least: int,
        told: Sequence[LabelledCall],
        among: Sequence[LabelledCall] | None = None,
    ) -> list[C]:
        """Those to train on, trusted ones first; limits on shares leave ``least`` where there are so many, the one on
        doubt, by what was ``told`` (see ``limited``, also for ``among``), does not.
        """
        trusted = self._rules.trusted_sources
        ranked = sorted(calls, key=lambda c: (c.source not in trusted, fraction("choice", c.call_id), c.call_id))
        fit = [call for call in ranked if self._fits(call)]
        sure, self.limited = self._sure(fit, told, among)
        kept = self._limited(sure, least)
        self.doubtful = len(fit) - len(sure)
        self.above_share += len(sure) - len(kept)
        return [self._clean(call) for call in kept]

    def replayed(self, calls: Sequence[LabelledCall], most: int, told: Sequence[LabelledCall]) -> list[LabelledCall]:
        """At most ``most`` of older calls; ``told`` are all older labels."""
        sure, _ = self._sure(calls, told)
        limited = self._limited(sure, most)
        kept: list[LabelledCall] = []
        for call in sorted(limited, key=lambda c: (fraction("replay", c.call_id), c.call_id)):
            if len(kept) == most:
                break
            if self._fits(call):
                kept.append(self._clean(call))
        return kept

    def counts(self) -> dict[str, int]:
        """What was left out and scrubbed, as a manifest names it."""
        return {
            "private_labels_left_out": self.private_labels,
            "near_judged_left_out": self.leaks,
            "near_duplicates_left_out": self.near_duplicates,
            "above_share_left_out": self.above_share,
            "doubtful_left_out": self.doubtful,
            "scrubbed": self.scrubbed,
        }

    def _sure(
        self, calls: Sequence[C], told: Sequence[LabelledCall], among: Sequence[LabelledCall] | None = None
    ) -> tuple[list[C], list[Limited]]:
        rules = self._rules
        return limited(calls, told, rules.trusted_sources, rules.metric, rules.max_wrong_share, among)

    def _limited(self, calls: Sequence[C], least: int) -> list[C]:
        rules = self._rules
        kept = capped(calls, GROUPS["tenant"], rules.trusted_sources, rules.max_tenant_share, least)
        return capped(kept, GROUPS["source"], rules.trusted_sources, rules.max_source_share, least)

    def _fits(self, call: LabelledCall) -> bool:
        if self._rules.scrub and redact(call.label) != call.label:
            self.private_labels += 1
        elif self._judging.has(call.prompt, call.label):
            self.leaks += 1
        elif self._chosen.has(call.prompt, call.label):
            self.near_duplicates += 1
        else:
            self._chosen.add(call.prompt, call.label)
            return True
        return False

    def _clean(self, call: C) -> C:
        prompt = redact(call.prompt) if self._rules.scrub else call.prompt
        self.scrubbed += prompt != call.prompt
        return call if prompt == call.prompt else msgspec.structs.replace(call, prompt=prompt)
