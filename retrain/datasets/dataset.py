"""From labelled calls to training rows and verified rows: pure, deterministic, by session.

Training never sees a session that the gate scores on, nor a golden prompt; the gate believes trusted sources only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from retrain.datasets.choice import Choice
from retrain.datasets.conflicts import holding
from retrain.datasets.influence import Suspect, is_suspect, suspects
from retrain.datasets.origins import kinds, origins, span_ms
from retrain.datasets.rows import BUCKETS, LabelledCall, Row, digest_of, fraction, prompt_key, rows_of, when_told
from retrain.datasets.rules import Rules

MOST_GROWTH = 1.5


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Rows to train on, rows to judge by, and how many of what kind there were. ``digest`` names the content."""

    train: tuple[Row, ...]
    verified: tuple[Row, ...]
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What people should know of it, in words: who was left out, and why."""
    calls: tuple[LabelledCall, ...] = ()
    """The calls that the rows to train on are of."""
    told: tuple[LabelledCall, ...] = ()
    """All labels, fresh and older, the oldest first."""
    suspects: tuple[Suspect, ...] = ()
    """Whose untrusted labels were left out."""
    held_out_share: float = 0.0
    """Share of the sessions that no row to train on is of."""
    origins: dict[str, Any] = field(default_factory=dict)
    """Sources and tenants of the rows (see origins.py), and between which times their calls were made."""

    @property
    def digest(self) -> str:
        """The content's digest (see ``digest_of``)."""
        return digest_of(self.train, self.verified)


class TooSmall(Exception):
    """There is not enough data; the message says of what, how much there is and how much is needed."""


def held_out(session: str, share: float) -> bool:
    """Whether a session is kept out of training; depends on its name alone, so every snapshot splits alike."""
    return fraction("holdout", session) < share


def share_held_out(labels: Iterable[tuple[str, str, str]], rules: Rules) -> float:
    """The share of sessions to hold out, given (session, source, prompt) triples: ``holdout_share``, or more.

    Trusted labels are scarce. Where ``holdout_share`` gives the gate fewer than it needs (and a tenth in reserve), the
    share grows until there are enough, at most by half: what judges is worth more than a few rows to train on.
    """
    trusted = sorted(
        (fraction("holdout", s), prompt) for s, source, prompt in labels if source in rules.trusted_sources
    )
    needed, prompts = math.ceil(rules.min_verified * 1.1), set[str]()
    most = most_held_out(rules.holdout_share)
    for place, prompt in trusted:
        prompts.add(prompt)
        if len(prompts) >= needed:
            return min(max(rules.holdout_share, place + 1 / BUCKETS), most)
    return most


def most_held_out(holdout_share: float) -> float:
    """The largest share of sessions that ``share_held_out`` may give."""
    return min(holdout_share * MOST_GROWTH, (1 + holdout_share) / 2)


def least_to_train(floor_labels: int, holdout_share: float) -> int:
    """Rows that the floor of labels leaves to train on when as much as allowed is held out."""
    return max(1, math.floor(floor_labels * (1 - most_held_out(holdout_share))))


def count(labels: Iterable[tuple[str, str, str]], rules: Rules) -> tuple[int, int]:
    """Of (session, source, prompt) triples: distinct prompts, and those of them the gate could judge by.

    The second: trusted ones in held-out sessions that no training session shares.
    """
    labels = list(labels)
    share = share_held_out(labels, rules)
    training: set[str] = set()
    seen: set[str] = set()
    trusted: set[str] = set()
    for session, source, prompt in labels:
        seen.add(prompt)
        if not held_out(session, share):
            training.add(prompt)
        elif source in rules.trusted_sources:
            trusted.add(prompt)
    return len(seen), len(trusted - training)


def build(
    fresh: Sequence[LabelledCall], older: Sequence[LabelledCall], golden: Collection[Row], rules: Rules
) -> DataSet:
    """The data set of one job: ``fresh`` labels since the change, ``older`` ones to replay. Raises TooSmall.

    Of several labels for one prompt one holds (conflicts.py); fresh beats older. Whoever contradicts trusted labels is
    left out (influence.py); what is trained on is near nothing that the gate judges by (choice.py).
    """
    trusted, frozen = rules.trusted_sources, {prompt_key(row.prompt) for row in golden}
    told = [call for call in fresh if call.label.strip()]
    past = [call for call in older if call.label.strip()]
    clean = [call for call in told if prompt_key(call.prompt) not in frozen]
    prompts = {prompt_key(call.prompt) for call in clean}
    if len(prompts) < rules.floor_labels:
        raise TooSmall(
            f"{len(prompts)} distinct labelled prompts since the change ({len(fresh)} labels); "
            f"at least retrain.floor_labels = {rules.floor_labels} are needed"
        )
    share = share_held_out([(call.session, call.source, prompt_key(call.prompt)) for call in clean], rules)
    found = suspects([clean, [*clean, *past]], trusted, rules.metric, rules.max_contradiction)
    believed = [call for call in clean if not is_suspect(call, found, trusted)]
    held = holding(believed, trusted)
    free = {key: call for key, call in held.calls.items() if not held_out(call.session, share)}
    judging = holding([call for call in clean if call.source in trusted], trusted).calls
    verified = [call for key, call in judging.items() if held_out(call.session, share) and key not in free]
    least = least_to_train(rules.floor_labels, rules.holdout_share)
    choice = Choice([*rows_of(verified), *golden], rules)
    training = choice.fresh(free.values(), least, believed)
    notes = [str(each) for each in (*found, *choice.limited)]
    _enough(len(training), least, [*notes, *_private(choice.private_labels, len(free))], held.disputed, choice.leaks)
    known = [call for call in past if not is_suspect(call, found, trusted)]
    wanted = round(len(training) * rules.replay_share / (1 - rules.replay_share))
    replay = choice.replayed(_replayable(known, prompts | frozen, share, rules), wanted, known)
    trained = [*training, *replay]
    counts = {
        "fresh_labels": len(fresh),
        "fresh_prompts": len(prompts),
        "empty_left_out": len(fresh) - len(told),
        "golden_left_out": len(told) - len(clean),
        "suspect_labels_left_out": len(clean) - len(believed),
        "duplicates_left_out": len(believed) - len(held.calls) - held.disputed_labels,
        "conflicting_prompts": held.conflicts,
        "disputed_prompts_left_out": held.disputed,
        **choice.counts(),
        "older_labels": len(older),
        "fresh_train": len(training),
        "replay": len(replay),
        "train": len(trained),
        "verified": len(verified),
        "held_out_sessions": len({call.session for call in clean if held_out(call.session, share)}),
        "held_out_percent": round(100 * share),
        "tenants": len({call.tenant for call in clean}),
        "tenants_left_out": sum(each.kind == "tenant" for each in found),
        "sources_left_out": sum(each.kind == "source" for each in found),
        **{f"train_{kind}": number for kind, number in kinds(trained).items()},
    }
    return DataSet(
        train=rows_of(trained),
        verified=rows_of(verified),
        counts=counts,
        notes=tuple(notes),
        calls=tuple(trained),
        told=tuple(sorted([*told, *past], key=when_told)),
        suspects=tuple(found),
        held_out_share=share,
        origins=origins([*told, *past], trained, found, rules) | {"verified_calls_ms": span_ms(verified)},
    )


def _enough(rows: int, least: int, reasons: Sequence[str], disputed: int, near: int) -> None:
    """Raises TooSmall where nothing is left to train on, or too little because something was left out."""
    if rows and (rows >= least or not reasons):
        return
    why = [*reasons]
    if disputed:
        why.append(f"{disputed} prompts have labels that differ, and no trusted one")
    if near:
        why.append(f"{near} rows are near what the gate judges by (retrain.near_duplicate)")
    if not why:
        raise TooSmall("every labelled session is held out for the gate; lower retrain.holdout_share")
    raise TooSmall(f"{rows} fresh rows are left to train on, at least {least} are needed: {'; '.join(why)}")


def _private(labels: int, of: int) -> list[str]:
    if not labels:
        return []
    return [
        f"{labels} of {of} labels hold an e-mail address or a long number, which no training may learn to say; "
        "where such answers are what is wanted, set retrain.scrub: false"
    ]


def _replayable(older: Sequence[LabelledCall], known: Collection[str], held: float, rules: Rules) -> list[LabelledCall]:
    """Older calls that a training may replay: no prompt of ``known``, no held-out session."""
    latest = holding(older, rules.trusted_sources).calls
    return [call for key, call in latest.items() if key not in known and not held_out(call.session, held)]
