"""Wrong labels with a pattern: what a broken tool upstream would write, not random typing errors.

A candidate trained on them agrees with its own training data; only a check on trusted labels shows the harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from producers.language import schedule, support_phrases
from producers.language.utterance import Utterance

_DAYS = ("mon", "tue", "wed", "thu", "fri")


def corrupt(said: Utterance, rng: Random, labels: Sequence[str] = ()) -> Utterance:
    """The utterance with a wrong truth, never equal to the right one.

    `schedule`: a zone error, the meeting one hour later and on the next working day. Everything else counts as a
    label: it becomes its neighbour in the sorted `labels` (default: all intents of the demo), as when a
    table of codes is shifted by one. The pattern needs no chance; `rng` is used only if the truth is not among
    the labels. ValueError when there is no other label.
    """
    if said.pipeline == schedule.PIPELINE and "time" in said.fields:
        hour, minute = said.fields["time"].split(":")
        fields = dict(said.fields)
        fields["time"] = f"{(int(hour) + 1) % 24:02d}:{minute}"
        fields["day"] = _DAYS[(_DAYS.index(fields["day"]) + 1) % len(_DAYS)]
        return replace(said, truth=schedule.truth_of(fields), fields=fields)
    known = sorted(set(labels) or {*support_phrases.KNOWN, *support_phrases.NEW})
    others = [label for label in known if label != said.truth]
    if not others:
        raise ValueError(f"labels hold nothing but {said.truth!r}; a wrong label needs a second one")
    shifted = known[(known.index(said.truth) + 1) % len(known)] if said.truth in known else rng.choice(others)
    return replace(said, truth=shifted, fields={**said.fields, "intent": shifted})
