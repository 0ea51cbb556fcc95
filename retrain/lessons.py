"""What a recipe teaches beside labels: pairs of a correction and what it corrects, thumbs, questions without a label.

Pure. Each takes the data set that labels made and gives it other rows to train on; what it is judged by stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from retrain.choice import Choice
from retrain.dataset import DataSet, TooSmall, held_out, least_to_train
from retrain.rows import AskedCall, JudgedCall, Row, fraction, in_order, prompt_key
from retrain.rules import Rules
from tidemill.redaction import redact
from tidemill.scoring import score


def pairs(made: DataSet, answers: Mapping[str, str], rules: Rules) -> DataSet:
    """Each label beside the answer of its call, where the metric says that the answer was wrong.

    ``answers`` by call id. Raises TooSmall.
    """
    told = [(call, answers[call.call_id]) for call in made.calls if call.call_id in answers]
    wrong = [(call, answer) for call, answer in told if (score(rules.metric, answer, call.label) or 0.0) < 1.0]
    rows = in_order(
        Row(prompt=call.prompt, completion=call.label.strip(), rejected=_clean(answer, rules)) for call, answer in wrong
    )
    kept = tuple(row for row in rows if row.rejected and row.rejected != row.completion)
    missing = f"{len(made.calls) - len(told)} have no kept answer, {len(told) - len(wrong)} were answered rightly"
    _enough(kept, "dpo", "pairs of a label and a wrong answer", rules, missing)
    return _with(made, kept, {"pairs": len(kept), "answered_rightly": len(told) - len(wrong)})


def thumbs(made: DataSet, judged: Sequence[JudgedCall], golden: Collection[Row], rules: Rules) -> DataSet:
    """Answers with a thumb, of sessions and questions that the gate does not judge by. Of several thumbs for an answer
    the most hold; a tie is left out. Raises TooSmall.
    """
    frozen = {prompt_key(row.prompt) for row in (*made.verified, *golden)}
    free: dict[tuple[str, str], list[JudgedCall]] = defaultdict(list)
    for each in judged:
        key = prompt_key(each.prompt)
        if each.label.strip() and key not in frozen and not held_out(each.session, made.held_out_share):
            free[key, each.label.strip()].append(each)
    liked: dict[str, bool] = {}
    calls = []
    for same in free.values():
        up = sum(each.liked for each in same)
        if 2 * up != len(same):
            latest = max(same, key=lambda each: (each.label_time_ms, each.call_id))
            liked[latest.call_id] = 2 * up > len(same)
            calls.append(latest)
    choice = Choice([*made.verified, *golden], rules)
    chosen = choice.fresh(calls, least_to_train(rules.floor_labels, rules.holdout_share))
    rows = in_order(
        Row(prompt=call.prompt, completion=call.label.strip(), liked=liked[call.call_id]) for call in chosen
    )
    _enough(rows, "kto", "answers with a thumb", rules, f"{len(judged)} thumbs were given since")
    ups = sum(bool(row.liked) for row in rows)
    return _with(made, rows, {"thumbs": len(judged), "liked": ups, "disliked": len(rows) - ups})


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


def _clean(text: str, rules: Rules) -> str:
    return (redact(text) if rules.scrub else text).strip()


def _with(made: DataSet, rows: tuple[Row, ...], counts: Mapping[str, int]) -> DataSet:
    return replace(made, train=rows, counts=made.counts | dict(counts) | {"train": len(rows)})


def _enough(rows: Sequence[Row], kind: str, what: str, rules: Rules, why: str) -> None:
    least = least_to_train(rules.floor_labels, rules.holdout_share)
    if len(rows) < least:
        raise TooSmall(
            f"retrain.recipe.kind {kind}: {len(rows)} {what}, at least {least} are needed (what retrain.floor_labels "
            f"leaves to train on); {why}; set kind: sft to train on the labels themselves"
        )
