"""From labelled calls to training rows and verified rows: pure, deterministic, by session.

Training never sees a session that the gate scores on, nor a golden prompt; the gate believes trusted sources only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from retrain.conflicts import holding
from retrain.influence import GROUPS, capped, is_suspect, suspects
from retrain.rows import BUCKETS, LabelledCall, Row, fraction, prompt_key, rows_of
from tidemill.settings import PipelineSettings

MOST_GROWTH = 1.5


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a data set is made; recorded in its manifest."""

    holdout_share: float
    replay_share: float
    trusted_sources: tuple[str, ...]
    floor_labels: int
    min_verified: int
    metric: str
    max_tenant_share: float
    max_source_share: float
    max_contradiction: float


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Rows to train on, rows to judge by, and how many of what kind there were. ``digest`` names the content."""

    train: tuple[Row, ...]
    verified: tuple[Row, ...]
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What people should know of it, in words: who was left out, and why."""

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted rows: the same content gives the same digest, in whatever order it came."""
        total = hashlib.sha256()
        for name, rows in (("train", self.train), ("verified", self.verified)):
            for line in sorted(msgspec.json.encode(row) for row in rows):
                total.update(name.encode() + b"\x1f" + line + b"\n")
        return total.hexdigest()


def rules_of(pipeline: PipelineSettings) -> Rules:
    """The rules that a pipeline's settings make."""
    return Rules(
        holdout_share=pipeline.retrain.holdout_share,
        replay_share=pipeline.retrain.replay_share,
        trusted_sources=pipeline.quality.trusted_sources,
        floor_labels=pipeline.retrain.floor_labels,
        min_verified=pipeline.gate.min_verified,
        metric=pipeline.quality.metric,
        max_tenant_share=pipeline.retrain.max_tenant_share,
        max_source_share=pipeline.retrain.max_source_share,
        max_contradiction=pipeline.retrain.max_contradiction,
    )


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
    fresh: Sequence[LabelledCall], older: Sequence[LabelledCall], golden_prompts: Iterable[str], rules: Rules
) -> DataSet:
    """The data set of one job: ``fresh`` labels since the change, ``older`` ones to replay. Raises TooSmall.

    Of several labels for one prompt one holds (see retrain.conflicts); fresh beats older. Tenants and sources that
    contradict trusted labels are left out, the others' part is limited (see retrain.influence).
    """
    golden = {prompt_key(prompt) for prompt in golden_prompts}
    trusted = rules.trusted_sources
    told = [call for call in fresh if call.label.strip()]
    past = [call for call in older if call.label.strip()]
    clean = [call for call in told if prompt_key(call.prompt) not in golden]
    share = share_held_out([(call.session, call.source, prompt_key(call.prompt)) for call in clean], rules)
    found = suspects([clean, [*clean, *past]], trusted, rules.metric, rules.max_contradiction)
    believed = [call for call in clean if not is_suspect(call, found, trusted)]
    held = holding(believed, trusted)
    free = [call for call in held.calls.values() if not held_out(call.session, share)]
    least = least_to_train(rules.floor_labels, rules.holdout_share)
    training = _limited(free, rules, least)
    judging = holding([call for call in clean if call.source in trusted], trusted).calls
    used = {prompt_key(call.prompt) for call in training}
    verified = [call for key, call in judging.items() if held_out(call.session, share) and key not in used]
    known = {prompt_key(call.prompt) for call in clean} | golden
    replay = _replay(
        [call for call in past if not is_suspect(call, found, trusted)], known, len(training), share, rules
    )
    prompts = len({prompt_key(call.prompt) for call in clean})
    counts = {
        "fresh_labels": len(fresh),
        "fresh_prompts": prompts,
        "empty_left_out": len(fresh) - len(told),
        "golden_left_out": len(told) - len(clean),
        "suspect_labels_left_out": len(clean) - len(believed),
        "duplicates_left_out": len(believed) - len(held.calls) - held.disputed_labels,
        "conflicting_prompts": held.conflicts,
        "disputed_prompts_left_out": held.disputed,
        "above_share_left_out": len(free) - len(training),
        "older_labels": len(older),
        "fresh_train": len(training),
        "replay": len(replay),
        "train": len(training) + len(replay),
        "verified": len(verified),
        "held_out_sessions": len({call.session for call in clean if held_out(call.session, share)}),
        "held_out_percent": round(100 * share),
        "tenants": len({call.tenant for call in clean}),
        "tenants_left_out": sum(each.kind == "tenant" for each in found),
        "sources_left_out": sum(each.kind == "source" for each in found),
    }
    notes = tuple(str(each) for each in found)
    if prompts < rules.floor_labels:
        raise TooSmall(
            f"{prompts} distinct labelled prompts since the change ({len(fresh)} labels); "
            f"at least retrain.floor_labels = {rules.floor_labels} are needed"
        )
    if not free and not found:
        raise TooSmall("every labelled session is held out for the gate; lower retrain.holdout_share")
    if (found or held.disputed) and len(training) < least:
        why = "; ".join((*notes, f"{held.disputed} prompts are disputed"))
        raise TooSmall(f"{len(training)} fresh rows are left to train on, at least {least} are needed: {why}")
    return DataSet(train=rows_of([*training, *replay]), verified=rows_of(verified), counts=counts, notes=notes)


def _limited(calls: Sequence[LabelledCall], rules: Rules, least: int) -> list[LabelledCall]:
    """The calls, no tenant's and no source's own labels more than its share of them; not fewer than ``least``."""
    kept = capped(calls, GROUPS["tenant"], rules.trusted_sources, rules.max_tenant_share, least)
    return capped(kept, GROUPS["source"], rules.trusted_sources, rules.max_source_share, least)


def _replay(
    older: Sequence[LabelledCall], known: Iterable[str], fresh: int, held: float, rules: Rules
) -> list[LabelledCall]:
    """Older calls so that they make ``replay_share`` of the whole; chosen by hash, so that the choice repeats."""
    wanted = round(fresh * rules.replay_share / (1 - rules.replay_share))
    known = set(known)
    latest = holding(older, rules.trusted_sources).calls
    free = [call for key, call in latest.items() if key not in known and not held_out(call.session, held)]
    limited = _limited(free, rules, wanted)
    return sorted(limited, key=lambda call: (fraction("replay", call.call_id), call.call_id))[:wanted]
