"""From labelled calls to training rows and verified rows: pure, deterministic, by session.

Training never sees a session that the gate scores on, nor a golden prompt; the gate believes trusted sources only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from tidemill.settings import PipelineSettings

MOST_GROWTH = 1.5
_BUCKETS = 2**32


class LabelledCall(Struct, frozen=True, kw_only=True):
    """One label or correction joined with what was asked."""

    call_id: str
    call_time_ms: int
    label_time_ms: int
    session: str
    source: str
    prompt: str
    label: str


class Row(Struct, frozen=True, kw_only=True):
    """One training or scoring row; a file holds one a line."""

    prompt: str
    completion: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a data set is made; recorded in its manifest."""

    holdout_share: float
    replay_share: float
    trusted_sources: tuple[str, ...]
    floor_labels: int
    min_verified: int


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Rows to train on, rows to judge by, and how many of what kind there were. ``digest`` names the content."""

    train: tuple[Row, ...]
    verified: tuple[Row, ...]
    counts: dict[str, int] = field(default_factory=dict)

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
    )


class TooSmall(Exception):
    """There is not enough data; the message says of what, how much there is and how much is needed."""


def held_out(session: str, share: float) -> bool:
    """Whether a session is kept out of training; depends on its name alone, so every snapshot splits alike."""
    return _fraction("holdout", session) < share


def share_held_out(labels: Iterable[tuple[str, str, str]], rules: Rules) -> float:
    """The share of sessions to hold out, given (session, source, prompt) triples: ``holdout_share``, or more.

    Trusted labels are scarce. Where ``holdout_share`` gives the gate fewer than it needs (and a tenth in reserve), the
    share grows until there are enough, at most by half: what judges is worth more than a few rows to train on.
    """
    trusted = sorted(
        (_fraction("holdout", s), prompt) for s, source, prompt in labels if source in rules.trusted_sources
    )
    needed, prompts = math.ceil(rules.min_verified * 1.1), set[str]()
    most = most_held_out(rules.holdout_share)
    for fraction, prompt in trusted:
        prompts.add(prompt)
        if len(prompts) >= needed:
            return min(max(rules.holdout_share, fraction + 1 / _BUCKETS), most)
    return most


def most_held_out(holdout_share: float) -> float:
    """The largest share of sessions that ``share_held_out`` may give."""
    return min(holdout_share * MOST_GROWTH, (1 + holdout_share) / 2)


def prompt_key(prompt: str) -> str:
    """Prompts with the same words are the same prompt, whatever the blanks and capitals."""
    return hashlib.sha256(" ".join(prompt.lower().split()).encode()).hexdigest()


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

    Of several labels for one prompt a trusted one beats the others, then the latest holds (conflicts are counted);
    fresh beats older.
    """
    golden = {prompt_key(prompt) for prompt in golden_prompts}
    told = [call for call in fresh if call.label.strip()]
    past = [call for call in older if call.label.strip()]
    clean = [call for call in told if prompt_key(call.prompt) not in golden]
    share = share_held_out([(call.session, call.source, prompt_key(call.prompt)) for call in clean], rules)
    latest, conflicts = _latest(clean, rules.trusted_sources)
    training = [call for call in latest.values() if not held_out(call.session, share)]
    trusted, _ = _latest([call for call in clean if call.source in rules.trusted_sources], rules.trusted_sources)
    used = {prompt_key(call.prompt) for call in training}
    verified = [call for key, call in trusted.items() if held_out(call.session, share) and key not in used]
    replay = _replay(past, golden | latest.keys() | trusted.keys(), len(training), share, rules)
    counts = {
        "fresh_labels": len(fresh),
        "fresh_prompts": len(latest),
        "empty_left_out": len(fresh) - len(told),
        "golden_left_out": len(told) - len(clean),
        "duplicates_left_out": len(clean) - len(latest),
        "conflicting_prompts": conflicts,
        "older_labels": len(older),
        "fresh_train": len(training),
        "replay": len(replay),
        "train": len(training) + len(replay),
        "verified": len(verified),
        "held_out_sessions": len({call.session for call in clean if held_out(call.session, share)}),
        "held_out_percent": round(100 * share),
    }
    if len(latest) < rules.floor_labels:
        raise TooSmall(
            f"{len(latest)} distinct labelled prompts since the change ({len(fresh)} labels); "
            f"at least retrain.floor_labels = {rules.floor_labels} are needed"
        )
    if not training:
        raise TooSmall("every labelled session is held out for the gate; lower retrain.holdout_share")
    return DataSet(train=_rows([*training, *replay]), verified=_rows(verified), counts=counts)


def _latest(calls: Sequence[LabelledCall], trusted: Collection[str]) -> tuple[dict[str, LabelledCall], int]:
    """The label that holds for each prompt, by prompt key, and how many prompts had labels that differ."""
    kept: dict[str, LabelledCall] = {}
    labels: dict[str, set[str]] = {}
    ranked = sorted(calls, key=lambda c: (c.source in trusted, c.label_time_ms, c.call_time_ms, c.call_id, c.label))
    for call in ranked:
        key = prompt_key(call.prompt)
        kept[key] = call
        labels.setdefault(key, set()).add(" ".join(call.label.split()))
    return kept, sum(len(values) > 1 for values in labels.values())


def _replay(
    older: Sequence[LabelledCall], known: Iterable[str], fresh: int, held: float, rules: Rules
) -> list[LabelledCall]:
    """Older calls so that they make ``replay_share`` of the whole; chosen by hash, so that the choice repeats."""
    wanted = round(fresh * rules.replay_share / (1 - rules.replay_share))
    known = set(known)
    latest, _ = _latest(older, rules.trusted_sources)
    free = [call for key, call in latest.items() if key not in known and not held_out(call.session, held)]
    return sorted(free, key=lambda call: _fraction("replay", call.call_id))[:wanted]


def _rows(calls: Iterable[LabelledCall]) -> tuple[Row, ...]:
    rows = {Row(prompt=call.prompt, completion=call.label.strip()) for call in calls}
    return tuple(sorted(rows, key=lambda row: (_fraction("order", row.prompt), row.prompt, row.completion)))


def _fraction(purpose: str, text: str) -> float:
    digest = hashlib.sha256(f"{purpose}\x1f{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / _BUCKETS
