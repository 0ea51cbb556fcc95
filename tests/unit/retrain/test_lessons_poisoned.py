"""Whoever's labels or thumbs are wrong spoils little of what is learnt from thumbs and from corrections, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

import msgspec
import pytest

from retrain.datasets import lessons
from retrain.datasets.dataset import DataSet, TooSmall, build
from retrain.datasets.influence import GROUPS, Compared, compared
from retrain.datasets.rows import JudgedCall, LabelledCall, Row
from retrain.datasets.rules import Rules
from tests.unit.retrain.made import rules
from tests.unit.retrain.poisoned import ANSWERS, Tenant, call, judged, labelled, poison_in, right

SHARE = 0.05
RULES = rules(near_duplicate=1)
NONE = rules(near_duplicate=1, max_wrong_share=1.0, max_contradiction=1.0, max_tenant_share=1.0)
FLIPPED = {"bad": 0.3}


def tenants(traffic: float, wrong: float = 0.01) -> Mapping[str, Tenant]:
    return {"bad": Tenant(traffic, wrong=wrong)} | {name: Tenant((1 - traffic) / 3) for name in "bcd"}


def by_thumbs(told: Sequence[LabelledCall], thumbs: Sequence[JudgedCall], by: Rules) -> DataSet:
    return lessons.thumbs(build(told, [], [], by), thumbs, [], 0, by)


def beside(told: Iterable[LabelledCall], thumbs: Sequence[JudgedCall], by: Rules, change_ms: int = 0) -> DataSet:
    """What thumbs alone teach beside these labels, without the data set that the labels make."""
    labels = DataSet(train=(), verified=(), counts={}, told=tuple(told))
    return lessons.thumbs(labels, thumbs, [], change_ms, by)


def tenants_of(rows: Sequence[Row], told: Sequence[LabelledCall]) -> set[str]:
    whose = {each.prompt: each.tenant for each in told}
    return {whose[row.prompt] for row in rows}


@pytest.mark.parametrize("traffic", [0.25, 0.8])
def test_a_third_of_flipped_thumbs_spoils_few_rows(traffic: float) -> None:
    spoiled, free = [], []
    for seed in range(2):
        rng = Random(seed)
        told = labelled(tenants(traffic), 400, 0.35, rng)
        thumbs = judged(told, FLIPPED, 0.5, rng)
        spoiled.append(poison_in(beside(told, thumbs, RULES).train))
        free.append(poison_in(beside(told, thumbs, NONE).train))
    assert sum(free) / len(free) > 0.15 * traffic, "without limits they are in it where no trusted label contradicts"
    assert sum(spoiled) / len(spoiled) <= SHARE
    assert max(spoiled) <= 2 * SHARE


def test_who_surely_contradicts_trusted_labels_by_thumbs_is_left_out_and_said() -> None:
    rng = Random(1)
    told = labelled(tenants(0.3), 600, 0.35, rng)
    thumbs = judged(told, {"bad": 0.5}, 0.5, rng)
    made = beside(told, thumbs, RULES)
    assert tenants_of(made.train, told) == {"b", "c", "d"}
    (note, *_) = made.notes
    assert note.startswith("tenant 'bad' left out: ") and "thumbs contradict trusted labels" in note
    theirs = made.origins["tenants"]["bad"]
    assert theirs["left_out"] and theirs["train"] == 0 and theirs["contradicted"] < 10
    assert theirs["thumbs_contradicted"] > 0.4 * theirs["thumbs_compared"]
    assert made.counts["suspect_thumbs_left_out"] == theirs["thumbs"] == sum(each.tenant == "bad" for each in thumbs)
    assert made.counts["tenants_left_out"] == 1
    assert poison_in(made.train) == 0


def test_a_good_past_hides_no_flipped_thumbs() -> None:
    rng = Random(2)
    told = labelled(tenants(0.3), 900, 0.35, rng)
    past, change = judged(told, {}, 0.5, rng), 700
    now = judged(told, {"bad": 0.9}, 0.5, rng)
    thumbs = [each for each in past if each.call_time_ms < change] + [e for e in now if e.call_time_ms >= change]
    made = beside(told, thumbs, RULES, change)
    assert "bad" not in tenants_of(made.train, told)


def test_whose_labels_were_left_out_has_no_thumbs_in_it() -> None:
    rng = Random(3)
    told = labelled(tenants(0.3, wrong=0.6), 400, 0.35, rng)
    thumbs = judged(told, {}, 0.5, rng)
    of_reviewers = [msgspec.structs.replace(each, source="audit") for each in thumbs if each.tenant == "bad"][::5]
    plain = build(told, [], [], RULES)
    assert [each.name for each in plain.suspects] == ["bad"]
    made = lessons.thumbs(plain, thumbs, [], 0, RULES)
    assert tenants_of(made.train, told) == {"b", "c", "d"}
    assert made.counts["suspect_thumbs_left_out"] == sum(each.tenant == "bad" for each in thumbs)
    assert made.origins["tenants"]["bad"]["left_out"] and made.origins["tenants"]["bad"]["thumbs"] > 0
    assert any(note.startswith("tenant 'bad' left out: ") for note in made.notes)
    believed = lessons.thumbs(plain, [*thumbs, *of_reviewers], [], 0, RULES)
    assert {each.source for each in believed.calls if each.tenant == "bad"} == {"audit"}


def test_a_source_whose_labels_were_left_out_has_no_thumbs_in_it() -> None:
    rng = Random(4)
    told = labelled(tenants(0.25), 400, 0.5, rng)
    judge = [call(n, told[n].tenant, "nonsense", "judge:small") for n in range(0, 400, 2)]
    thumbs = judged(told, {}, 0.5, rng)
    by_judge = [msgspec.structs.replace(each, source="judge:small") for each in thumbs[::2]]
    made = by_thumbs([*told, *judge], [*thumbs[1::2], *by_judge], RULES)
    assert {each.source for each in made.calls} == {"user"}
    assert made.origins["sources"]["judge:small"]["left_out"]


def test_thumbs_of_a_source_that_is_left_out_take_no_vote_of_the_users_with_them() -> None:
    rng = Random(4)
    told = labelled(tenants(0.25), 400, 0.5, rng)
    thumbs = judged(told, {}, 0.5, rng)
    later = {"source": "judge:small", "label_time_ms": 10**9}
    by_judge = [msgspec.structs.replace(each, liked=not each.liked, **later) for each in thumbs[::2]]
    made = by_thumbs(told, [*thumbs, *by_judge], RULES)
    assert made.origins["sources"]["judge:small"]["left_out"]
    assert made.counts["train"] >= 0.9 * by_thumbs(told, thumbs, RULES).counts["train"]


def test_honest_thumbs_are_hardly_touched() -> None:
    left_out = rows = 0
    for seed in range(3):
        rng = Random(seed)
        told = labelled(tenants(0.25), 300, 0.35, rng)
        made = beside(told, judged(told, dict.fromkeys(("bad", *"bcd"), 0.02), 0.5, rng), RULES)
        left_out += made.counts["doubtful_left_out"] + made.counts["suspect_thumbs_left_out"]
        rows += made.counts["train"]
    assert left_out <= 0.05 * rows


def test_without_anything_to_compare_thumbs_with_a_large_tenant_is_limited() -> None:
    rng = Random(5)
    told = labelled(tenants(0.5), 400, 0.35, rng)
    unseen = {each.prompt for each in told if each.source == "audit"}
    thumbs = [each for each in judged(told, FLIPPED, 0.5, rng) if each.prompt not in unseen]
    with pytest.raises(TooSmall, match=r"kind kto: .* 0 of 0 thumbs contradict trusted labels .*max_wrong_share"):
        by_thumbs(told, thumbs, rules(near_duplicate=1, floor_labels=300))


def test_the_thumb_that_stands_for_an_answer_is_one_that_holds() -> None:
    told = labelled(tenants(0.25), 100, 0.35, Random(6))
    made = build(told, [], [], NONE)
    free = next(each for each in made.calls if each.tenant == "b")
    one = JudgedCall(**msgspec.structs.asdict(free) | {"kind": "thumb", "source": "user"}, liked=True)
    others = [
        msgspec.structs.replace(one, tenant="c", source="judge:a", label_time_ms=one.label_time_ms - 1),
        msgspec.structs.replace(one, tenant="d", source="late", liked=False, label_time_ms=one.label_time_ms + 9),
    ]
    rest = [each for each in judged(told, {}, 0.5, Random(6)) if each.prompt != one.prompt]
    (found,) = [each for each in lessons.thumbs(made, [one, *others, *rest], [], 0, NONE).calls
                if each.prompt == one.prompt]  # fmt: skip
    assert (found.source, found.holds) == ("user", True)


def thumb(number: int, tenant: str, liked: bool, after: int = 0, answer: str = "", source: str = "user") -> JudgedCall:
    """On ``answer``, or on the right one, told so much ``after`` the call."""
    found = msgspec.structs.asdict(call(number, tenant, answer or right(number), source))
    named = {"kind": "thumb", "call_id": f"call-{number}-{tenant}-{after}", "label_time_ms": number + after}
    return JudgedCall(**found | named, liked=liked)


def reviewed(numbers: Iterable[int]) -> list[LabelledCall]:
    return [call(n, "abc"[n % 3], right(n), "audit") for n in numbers]


def test_thumbs_that_a_tenant_took_back_change_nothing() -> None:
    told = reviewed(range(0, 240, 4))
    last = [thumb(n, "abc"[n % 3], n % 30 > 0, after=9) for n in range(240)]
    before = [thumb(n, "abc"[n % 3], n % 2 > 0, after) for n in range(240) for after in range(n % 4)]
    plain, made = beside(told, last, RULES), beside(told, [*before, *last], RULES)
    assert (made.train, made.notes, made.calls) == (plain.train, plain.notes, plain.calls)
    assert len(made.train) > 100


@pytest.mark.parametrize(
    "hiding",
    [
        pytest.param(lambda n: [thumb(n, "c", True, after) for after in (0, 1)], id="earlier right ones"),
        pytest.param(lambda n: [thumb(n, "c", False, 9, "something else")], id="a later one on another answer"),
    ],
)
def test_no_other_thumbs_hide_a_tenants_wrong_ones(hiding: Callable[[int], list[JudgedCall]]) -> None:
    thumbs = [thumb(n, "abc"[n % 3], n % 3 < 2, after=5) for n in range(450)]
    thumbs += [other for n in range(2, 450, 3) for other in hiding(n)]
    made = beside(reviewed(range(0, 450, 4)), thumbs, RULES)
    assert {each.tenant for each in made.calls} == {"a", "b"}
    assert poison_in(made.train) == 0
    assert any(note.startswith("tenant 'c' left out: ") for note in made.notes)


def test_a_tenant_has_one_vote_however_often_it_says_it() -> None:
    honest = [thumb(n, tenant, True) for n in range(60) for tenant in "ab"]
    many = [thumb(n, "c", False, after) for n in range(60) for after in range(1, 5)]
    made = beside([], [*honest, *many], NONE)
    assert len(made.train) == 60 and poison_in(made.train) == 0
    assert not beside([], [*honest, *many, *(thumb(n, "a", False, 9) for n in range(60))], NONE).counts["liked"]


def test_trusted_thumbs_decide_alone_and_the_latest_of_them() -> None:
    tenants = [thumb(n, tenant, False, after=7) for n in range(60) for tenant in "abc"]
    first = [thumb(n, "b", False, 1, source="audit") for n in range(60)]
    last = [thumb(n, "a", True, 2, source="audit") for n in range(60)]
    made = beside([], [*tenants, *first, *last], NONE)
    assert len(made.train) == 60 and poison_in(made.train) == 0
    assert {(each.tenant, each.source) for each in made.calls} == {("a", "audit")}


def test_a_thumb_that_contradicts_a_trusted_label_of_its_prompt_has_no_vote_and_is_counted() -> None:
    wrong = [thumb(n, tenant, False, after=2) for n in range(60) for tenant in "bc"]
    made = beside(reviewed(range(0, 60, 3)), [*(thumb(n, "a", True) for n in range(60)), *wrong], NONE)
    assert {row.prompt for row in made.train if row.liked} == {f"question {n}" for n in range(0, 60, 3)}
    assert len(made.train) == 60
    assert made.counts["contradicting_thumbs_left_out"] == 40
    assert made.notes == ("thumbs left out as they contradict a trusted label of their prompt: 40",)
    alone = beside(reviewed(range(0, 60, 3)), wrong, NONE)
    assert not {row.prompt for row in alone.train} & {f"question {n}" for n in range(0, 60, 3)}


@pytest.mark.parametrize("traffic", [0.25, 0.5])
def test_wrong_labels_spoil_few_pairs(traffic: float) -> None:
    """Where most answers are right, a right label seldom makes a pair and a wrong one nearly always does."""
    spoiled, free = list[float](), list[float]()
    for seed in range(2):
        rng = Random(seed)
        told = labelled(tenants(traffic, wrong=0.3), 400, 0.35, rng)
        whose = {each.prompt: each.tenant for each in told}
        numbers = {each.call_id: int(each.prompt.removeprefix("question ")) for each in told}
        answers = {name: right(n) if rng.random() < 0.7 else rng.choice(ANSWERS) for name, n in numbers.items()}
        for by, found in ((rules(near_duplicate=1, max_contradiction=1.0), spoiled), (NONE, free)):
            made = lessons.pairs(build(told, [], [], by), answers, [], by)
            theirs = [row for row in made.train if whose[row.prompt] == "bad"]
            found.append(poison_in(theirs) * len(theirs) / len(made.train))
    assert sum(free) / len(free) > 0.4 * traffic, "without limits"
    assert sum(spoiled) / len(spoiled) <= SHARE, "though no evidence leaves the tenant out"


def test_one_tenant_whose_labels_alone_correct_right_answers_is_not_alone() -> None:
    rng = Random(7)
    told = labelled(tenants(0.5, wrong=0.3), 600, 0.2, rng)
    answers = {each.call_id: right(int(each.prompt.removeprefix("question "))) for each in told}
    by = rules(near_duplicate=1, max_contradiction=1.0, floor_labels=40)
    with pytest.raises(TooSmall, match=r"kind dpo: .* corrections contradict trusted labels .*max_wrong_share"):
        lessons.pairs(build(told, [], [], by), answers, [], by)


def test_a_thumb_contradicts_a_trusted_label_where_it_says_the_other_thing_of_the_answer() -> None:
    def of(metric: str, answer: str, liked: bool, truth: str) -> Compared:
        thumb = JudgedCall(**msgspec.structs.asdict(call(1, "a", answer)) | {"kind": "thumb"}, liked=liked)
        found = compared([thumb, call(1, "a", truth, "audit")], GROUPS["tenant"], ("audit",), metric)
        return found["a"]

    for answer, liked, wrong in (("x", True, 0), ("x", False, 1), ("y", True, 1), ("y", False, 0)):
        assert of("exact_match", answer, liked, "x") == Compared(prompts=1, contradicted=wrong)
    for liked in (True, False):
        assert of("word_accuracy", "one two three", liked, "one two four").contradicted == 0, "half right is either"
