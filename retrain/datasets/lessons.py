"""What a recipe teaches beside labels: pairs of a correction and what it corrects, thumbs, questions without a label.

Pure. Each takes the data set that labels made and gives it other rows to train on; what it is judged by stays. The
limits on whom a training believes (influence.py, doubt.py) hold for these rows as they do for labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from retrain.datasets.choice import Choice
from retrain.datasets.dataset import DataSet, TooSmall, held_out, least_to_train
from retrain.datasets.influence import Suspect, beside_trusted, contradicts, is_suspect, suspects, trusted_labels
from retrain.datasets.origins import origins
from retrain.datasets.rows import AskedCall, JudgedCall, LabelledCall, Row, fraction, in_order, prompt_key, when_told
from retrain.datasets.rules import Rules
from tidemill.redaction import redact
from tidemill.scoring import score

_OF_LABELS = ("fresh_train", "replay", "train_labels", "train_corrections")
"""Counts of rows that a training on thumbs does not have."""


def pairs(made: DataSet, answers: Mapping[str, str], golden: Collection[Row], rules: Rules) -> DataSet:
    """Each label beside the answer of its call, where the metric says that the answer was wrong.

    A wrong label makes a pair more often than a right one. So whoever's labels are doubtful is limited once more, by
    those labels alone that correct an answer. ``answers`` by call id. Raises TooSmall.
    """
    trusted = rules.trusted_sources
    answered = [call for call in made.calls if call.call_id in answers]
    wrong = [call for call in answered if _corrects(call, answers, rules)]
    beside = {call.call_id: _clean(answers[call.call_id], rules) for call in wrong}
    telling = [call for call in wrong if beside[call.call_id] not in ("", call.label.strip())]
    believed = [call for call in made.told if not is_suspect(call, made.suspects, trusted)]
    told = [call for call in believed if call.source in trusted or _corrects(call, answers, rules)]
    choice = Choice([*made.verified, *golden], rules)
    chosen = choice.fresh(telling, _least(rules), told, believed)
    rows = in_order(
        Row(prompt=call.prompt, completion=call.label.strip(), rejected=beside[call.call_id]) for call in chosen
    )
    limits = [str(replace(each, what="corrections")) for each in choice.limited]
    unanswered, right = len(made.calls) - len(answered), len(answered) - len(wrong)
    missing = f"{unanswered} have no kept answer, {right} were answered rightly"
    _enough(rows, "dpo", "pairs of a label and a wrong answer", rules, [missing, *limits])
    counts = {
        "pairs": len(rows),
        "answered_rightly": right,
        "doubtful_pairs_left_out": choice.doubtful,
        "pairs_above_share_left_out": choice.above_share,
    }
    return _with(
        made,
        rows,
        counts,
        calls=tuple(chosen),
        notes=(*made.notes, *limits),
        origins=made.origins | origins(made.told, chosen, made.suspects, rules),
    )


def thumbs(
    made: DataSet, judged: Sequence[JudgedCall], golden: Collection[Row], change_ms: int, rules: Rules
) -> DataSet:
    """Answers with a thumb, of sessions and questions that the gate does not judge by. Of several thumbs for an answer
    the latest trusted one holds; where there is none, what most tenants say, each by its latest; a tie is left out.

    Whose labels were left out has no thumb in it either, nor has who contradicts trusted labels by thumbs, those of
    calls since ``change_ms`` or all; no untrusted thumb has a vote that contradicts a trusted label of its prompt. The
    rest is limited by what these comparisons leave in doubt. Raises TooSmall.
    """
    trusted = rules.trusted_sources
    given = [each for each in judged if each.label.strip()]
    votes = _votes((each for each in given if not is_suspect(each, made.suspects, trusted)), trusted)
    found = _contradicting(made, votes, change_ms, rules)
    believed = _votes((each for each in given if not is_suspect(each, found, trusted)), trusted)
    frozen = {prompt_key(row.prompt) for row in (*made.verified, *golden)}
    free = [
        each
        for each in believed
        if prompt_key(each.prompt) not in frozen and not held_out(each.session, made.held_out_share)
    ]
    standing = _standing(free, made.told, rules)
    dropped = len(free) - len(standing)
    choice = Choice([*made.verified, *golden], rules)
    chosen = choice.fresh(_holding(standing, trusted), _least(rules), beside_trusted(made.told, believed, trusted))
    rows = in_order(Row(prompt=call.prompt, completion=call.label.strip(), liked=call.liked) for call in chosen)
    notes = [*map(str, found), *(str(replace(each, what="thumbs")) for each in choice.limited)]
    if dropped:
        notes.append(f"thumbs left out as they contradict a trusted label of their prompt: {dropped}")
    _enough(rows, "kto", "answers with a thumb", rules, [f"{len(judged)} thumbs were given since", *notes])
    ups = sum(bool(row.liked) for row in rows)
    own = _with(
        made,
        rows,
        {
            **choice.counts(),
            "thumbs": len(judged),
            "suspect_thumbs_left_out": sum(is_suspect(each, found, trusted) for each in given),
            "contradicting_thumbs_left_out": dropped,
            "liked": ups,
            "disliked": len(rows) - ups,
            "tenants_left_out": sum(each.kind == "tenant" for each in found),
            "sources_left_out": sum(each.kind == "source" for each in found),
        },
        calls=tuple(chosen),
        notes=tuple(notes),
        suspects=tuple(found),
        origins=made.origins | origins(made.told, chosen, found, rules, given),
    )
    return replace(own, counts={name: number for name, number in own.counts.items() if name not in _OF_LABELS})


def unlabelled(made: DataSet, asked: Iterable[AskedCall], golden: Collection[Row], most: int, rules: Rules) -> DataSet:
    """The data set, and at most so many questions without a label beside it, for a teacher to answer."""
    known = {prompt_key(row.prompt) for row in (*made.train, *made.verified, *golden)}
    free = {
        prompt_key(call.prompt): call
        for call in asked
        if call.prompt.strip() and not held_out(call.session, made.held_out_share)
    }
    fresh = sorted(
        (call for key, call in free.items() if key not in known), key=lambda c: (fraction("ask", c.call_id), c.call_id)
    )
    rows = [Row(prompt=_clean(call.prompt, rules), completion="") for call in fresh[:most]]
    return _with(made, in_order([*made.train, *rows]), {"unlabelled": len(rows)})


def _votes(given: Iterable[JudgedCall], trusted: Collection[str]) -> list[JudgedCall]:
    """The latest thumb of each tenant for each answer; a trusted one is no tenant's, and neither replaces the other."""
    return list(
        {(each.tenant, each.source in trusted, each.about): each for each in sorted(given, key=when_told)}.values()
    )


def _contradicting(made: DataSet, votes: Sequence[JudgedCall], change_ms: int, rules: Rules) -> list[Suspect]:
    """Whose labels were left out, then whoever else contradicts trusted labels by thumbs."""
    trusted = rules.trusted_sources
    told = beside_trusted(made.told, votes, trusted)
    fresh = [call for call in told if call.call_time_ms >= change_ms]
    found = suspects([fresh, told], trusted, rules.metric, rules.max_contradiction)
    return [*made.suspects, *(replace(each, what="thumbs") for each in found)]


def _standing(votes: Iterable[JudgedCall], told: Iterable[LabelledCall], rules: Rules) -> list[JudgedCall]:
    """The trusted ones, and those that contradict no trusted label of their prompt."""
    trusted = rules.trusted_sources
    known = trusted_labels(told, trusted)
    return [
        each
        for each in votes
        if each.source in trusted or not contradicts(each, known.get(prompt_key(each.prompt)), rules.metric)
    ]


def _holding(votes: Iterable[JudgedCall], trusted: Collection[str]) -> list[JudgedCall]:
    """The latest of the thumbs that hold, one an answer; where there are trusted ones, the latest of these alone."""
    told: dict[tuple[str, str], list[JudgedCall]] = defaultdict(list)
    for each in votes:
        told[each.about].append(each)
    kept = []
    for everybody in told.values():
        latest = max(everybody, key=lambda each: (each.source in trusted, when_told(each)))
        same = [latest] if latest.source in trusted else everybody
        ups = sum(each.liked for each in same)
        if 2 * ups != len(same):
            kept.append(max((each for each in same if each.liked is (2 * ups > len(same))), key=when_told))
    return kept


def _corrects(call: LabelledCall, answers: Mapping[str, str], rules: Rules) -> bool:
    """Whether the label says that the answer its call got, if it is known, was wrong."""
    return call.call_id in answers and (score(rules.metric, answers[call.call_id], call.label) or 0.0) < 1.0


def _clean(text: str, rules: Rules) -> str:
    return (redact(text) if rules.scrub else text).strip()


def _with(made: DataSet, rows: tuple[Row, ...], counts: Mapping[str, int], **changed: Any) -> DataSet:
    return replace(made, train=rows, counts=made.counts | dict(counts) | {"train": len(rows)}, **changed)


def _least(rules: Rules) -> int:
    return least_to_train(rules.floor_labels, rules.holdout_share)


def _enough(rows: Collection[Row], kind: str, what: str, rules: Rules, why: Sequence[str]) -> None:
    if len(rows) < (least := _least(rules)):
        raise TooSmall(
            f"retrain.recipe.kind {kind}: {len(rows)} {what}, at least {least} are needed (what retrain.floor_labels "
            f"leaves to train on); {'; '.join(why)}; set kind: sft to train on the labels themselves"
        )
