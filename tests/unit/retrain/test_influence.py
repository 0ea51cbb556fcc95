"""Who is left out for contradicting trusted labels, how much of a training one may be, and what poison is left."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.datasets.conflicts import holding
from retrain.datasets.dataset import TooSmall, build
from retrain.datasets.influence import ALPHA, GROUPS, Compared, capped, chance, compared, is_suspect, suspects
from retrain.datasets.rows import LabelledCall
from tests.unit.retrain.made import rules
from tests.unit.retrain.poisoned import Tenant, call, labelled, poison_in

TRUSTED = ("audit",)
MARGIN = 0.1
FIFTH = {"bad": Tenant(0.2, wrong=0.3), "b": Tenant(0.3), "c": Tenant(0.3), "d": Tenant(0.2)}
HALF = {"bad": Tenant(0.5, wrong=0.3), "b": Tenant(0.2), "c": Tenant(0.2), "d": Tenant(0.1)}


def found(calls: list[LabelledCall], metric: str = "exact_match") -> list[str]:
    return [each.name for each in suspects([calls], TRUSTED, metric, MARGIN)]


@pytest.mark.parametrize("tenants", [FIFTH, HALF])
def test_a_tenant_with_a_third_of_its_labels_wrong_is_left_out_where_reviewers_see_enough(
    tenants: dict[str, Tenant],
) -> None:
    caught = [found(labelled(tenants, 2_000, 0.35, Random(seed))) for seed in range(20)]
    assert Counter(map(tuple, caught))[("bad",)] >= 16
    assert all(names in ([], ["bad"]) for names in caught), "and nobody else is"


@pytest.mark.parametrize("traffic", [0.1, 0.2, 0.5, 0.8])
def test_a_tenant_all_of_whose_labels_are_wrong_is_left_out_by_few(traffic: float) -> None:
    tenants = {"bad": Tenant(traffic, wrong=1.0), "b": Tenant(1 - traffic)}
    assert [found(labelled(tenants, 500, 0.35, Random(seed))) for seed in range(10)] == [["bad"]] * 10


@pytest.mark.parametrize("wrong", [0.01, 0.05, 0.3])
def test_honest_tenants_are_hardly_ever_left_out(wrong: float) -> None:
    tenants = {name: Tenant(0.25, wrong=wrong) for name in "abcd"}
    left_out = sum(bool(found(labelled(tenants, 1_000, 0.35, Random(seed)))) for seed in range(60))
    assert left_out / 60 <= ALPHA


def test_one_as_much_worse_as_is_allowed_stays() -> None:
    tenants = {"worse": Tenant(0.3, wrong=0.01 + MARGIN), "b": Tenant(0.4), "c": Tenant(0.3)}
    assert sum(bool(found(labelled(tenants, 2_000, 0.35, Random(seed)))) for seed in range(40)) / 40 <= ALPHA


def test_nobody_is_judged_alone_or_without_trusted_labels() -> None:
    assert found(labelled({"bad": Tenant(1.0, wrong=1.0)}, 500, 0.5, Random(1))) == []
    assert found(labelled({"bad": Tenant(0.5, wrong=1.0), "b": Tenant(0.5)}, 500, 0.0, Random(1))) == []


def test_the_worst_hides_nobody() -> None:
    tenants = {"bad": Tenant(0.3, wrong=1.0), "bad too": Tenant(0.3, wrong=0.5), "b": Tenant(0.2), "c": Tenant(0.2)}
    assert found(labelled(tenants, 3_000, 0.35, Random(1))) == ["bad", "bad too"]


def test_a_good_past_hides_nothing() -> None:
    past = labelled({"bad": Tenant(0.5), "b": Tenant(0.5)}, 5_000, 0.35, Random(1))
    now = [
        call(each.call_time_ms + 10_000, each.tenant, each.label, each.source)
        for each in labelled({"bad": Tenant(0.5, wrong=0.8), "b": Tenant(0.5)}, 200, 0.35, Random(2))
    ]
    (suspect,) = suspects([now, [*now, *past]], TRUSTED, "exact_match", MARGIN)
    assert suspect.name == "bad"
    assert str(suspect).startswith("tenant 'bad' left out: ")


def test_a_source_is_left_out_as_a_tenant_is_and_its_tenants_stay() -> None:
    tenants = {"a": Tenant(0.4), "b": Tenant(0.4)}
    calls = labelled(tenants, 400, 0.5, Random(1))
    judge = [call(n, "ab"[n % 2], "nonsense", "judge:small") for n in range(400)]
    (suspect,) = suspects([calls + judge], TRUSTED, "exact_match", MARGIN)
    assert (suspect.kind, suspect.name) == ("source", "judge:small")
    left = [each for each in calls + judge if not is_suspect(each, [suspect], TRUSTED)]
    assert left == calls


def test_what_a_trusted_source_says_of_a_suspects_calls_stays() -> None:
    tenants = {"bad": Tenant(0.5, wrong=1.0), "b": Tenant(0.5)}
    calls = labelled(tenants, 300, 0.5, Random(1))
    judged = suspects([calls], TRUSTED, "exact_match", MARGIN)
    left = [each for each in calls if not is_suspect(each, judged, TRUSTED)]
    assert {each.source for each in left if each.tenant == "bad"} == {"audit"}


def test_labels_are_compared_by_the_pipelines_metric() -> None:
    calls = [
        call(1, "a", '{"x": 1.0}'),
        call(1, "a", '{"x":1}', "audit"),
        call(2, "a", "no"),
        call(2, "a", "1", "audit"),
    ]
    assert compared(calls, GROUPS["tenant"], TRUSTED, "exact_match") == {"a": Compared(prompts=2, contradicted=2)}
    assert compared(calls, GROUPS["tenant"], TRUSTED, "json_equal") == {"a": Compared(prompts=2, contradicted=1)}


def test_repeating_oneself_adds_no_evidence() -> None:
    calls = [call(1, "a", "wrong")] * 500 + [call(1, "b", "right"), call(1, "b", "right", "audit")]
    assert compared(calls, GROUPS["tenant"], TRUSTED, "exact_match")["a"] == Compared(prompts=1, contradicted=1)


def test_the_chance_is_a_p_value_whatever_the_others_rate() -> None:
    rng, alpha = Random(1), 0.1
    for rate, own_n, others_n in ((0.01, 20, 50), (0.3, 60, 60), (0.6, 100, 30)):
        hits = 0
        for _ in range(400):
            own = Compared(prompts=own_n, contradicted=sum(rng.random() < rate + MARGIN for _ in range(own_n)))
            others = Compared(prompts=others_n, contradicted=sum(rng.random() < rate for _ in range(others_n)))
            hits += chance(own, others, MARGIN, alpha) <= alpha
        assert hits / 400 <= alpha
    assert chance(Compared(), Compared(prompts=9), MARGIN, alpha) == 1
    assert chance(Compared(prompts=9, contradicted=9), Compared(), MARGIN, alpha) == 1


calls_of_tenants = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["user", "audit"])), min_size=1, max_size=60
).map(lambda pairs: [call(n, tenant, "x", source) for n, (tenant, source) in enumerate(pairs)])


@given(calls=calls_of_tenants, share=st.floats(0.05, 1), least=st.integers(0, 40))
def test_a_cap_keeps_its_promise(calls: list[LabelledCall], share: float, least: int) -> None:
    kept = capped(calls, GROUPS["tenant"], TRUSTED, share, least)
    assert set(kept) <= set(calls)
    assert {c for c in calls if c.source == "audit"} <= set(kept)
    assert len(kept) >= min(least, len(calls))
    own = Counter(c.tenant for c in kept if c.source == "user")
    groups = len({c.tenant for c in calls if c.source == "user"})
    if groups < 2 or share >= 1:
        assert len(kept) == len(calls)
    elif len(kept) > least + groups:
        assert max(own.values()) <= max(share, 1 / groups) * len(kept)
    assert capped(calls[::-1], GROUPS["tenant"], TRUSTED, share, least) == kept or len(kept) == len(calls)


def test_a_cap_takes_from_the_largest_alone() -> None:
    calls = [call(n, "large" if n >= 40 else "small", "x") for n in range(400)]
    assert Counter(c.tenant for c in capped(calls, GROUPS["tenant"], TRUSTED, 0.75, 0)) == {"small": 40, "large": 120}
    assert Counter(c.tenant for c in capped(calls, GROUPS["tenant"], TRUSTED, 0.75, 300)) == {"small": 40, "large": 260}


def test_what_most_tenants_say_holds_and_a_tie_is_disputed() -> None:
    said = [call(1, "a", "x"), call(1, "b", "x"), call(1, "bad", "y"), call(1, "bad", "y"), call(1, "bad", "y")]
    assert [each.label for each in holding(said, TRUSTED).calls.values()] == ["x"]
    tie = holding([*said, call(1, "c", "y")], TRUSTED)
    assert (tie.calls, tie.conflicts, tie.disputed, tie.disputed_labels) == ({}, 1, 1, 6)
    assert [each.label for each in holding([*said, call(1, "bad", "z", "audit")], TRUSTED).calls.values()] == ["z"]


@pytest.mark.parametrize(("tenants", "before_least"), [(FIFTH, 0.04), (HALF, 0.08)])
def test_less_poison_is_trained_on(tenants: dict[str, Tenant], before_least: float) -> None:
    calls = labelled(tenants, 2_000, 0.35, Random(7))
    before = build(calls, [], [], rules(max_tenant_share=1.0, max_contradiction=1.0, max_wrong_share=1.0))
    after = build(calls, [], [], rules())
    poison = [poison_in(made.train) for made in (before, after)]
    assert poison[0] > before_least
    assert poison[1] < 0.02
    assert after.counts["tenants_left_out"] == 1 and len(after.notes) == 1
    assert after.verified == before.verified


def test_the_manifest_tells_whose_labels_there_were_and_what_became_of_them() -> None:
    calls = labelled(HALF, 2_000, 0.35, Random(7))
    made = build(calls, [], [], rules(licences={"user": "our terms, 3.2"})).origins
    assert made["tenants"]["bad"]["left_out"] and not made["tenants"]["b"]["left_out"]
    assert made["tenants"]["bad"]["contradicted"] > 50
    assert made["tenants"]["b"]["contradicted"] < 10
    assert made["sources"]["user"]["licence"] == "our terms, 3.2"
    assert (made["sources"]["audit"]["licence"], made["sources"]["audit"]["trusted"]) == ("not stated", True)
    first, last = made["train_calls_ms"]
    assert 0 <= first < last < 2_000


def test_without_evidence_a_cap_alone_halves_the_poison() -> None:
    tenants = {"bad": Tenant(0.8, wrong=0.3), "b": Tenant(0.1), "c": Tenant(0.1)}
    calls = labelled(tenants, 2_000, 0.0, Random(3))
    before = build(calls, [], [], rules(max_tenant_share=1.0, max_wrong_share=1.0))
    after = build(calls, [], [], rules(max_tenant_share=0.4, max_wrong_share=1.0))
    poison = [poison_in(made.train) for made in (before, after)]
    assert poison[0] > 0.2 and poison[1] < 0.6 * poison[0]
    assert after.counts["above_share_left_out"] > 0


def test_too_little_that_can_be_believed_is_refused_with_the_reason() -> None:
    calls = labelled({"bad": Tenant(0.95, wrong=1.0), "b": Tenant(0.05)}, 400, 0.3, Random(3))
    with pytest.raises(TooSmall, match=r"rows are left to train on.* needed: tenant 'bad' left out: \d+ of \d+"):
        build(calls, [], [], rules(floor_labels=350))
