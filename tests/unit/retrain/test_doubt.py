"""What one tenant's labels could spoil of a training is limited, whatever the evidence; clean ones are left alone."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import poisoned_gate
from retrain.datasets.dataset import build
from retrain.datasets.doubt import doubts, limited
from retrain.datasets.influence import Compared
from tests.unit.retrain.made import rules
from tests.unit.retrain.poisoned import Tenant, call, labelled, poison_in

TRUSTED = ("audit",)
SHARE = 0.05


def test_doubt_is_what_the_comparisons_still_allow_beyond_what_is_usual() -> None:
    def of(**groups: tuple[int, int]) -> dict[str, float]:
        return doubts({name: Compared(prompts=n, contradicted=k) for name, (n, k) in groups.items()})

    known = of(bad=(52, 16), good=(52, 0), new=(0, 0))
    assert known["new"] > 0.9, "nobody compared: all of them may be wrong"
    assert 0.35 < known["bad"] < 0.5
    assert known["good"] < 0.02, "others do worse"
    hard = of(a=(100, 15), b=(100, 15))
    assert all(0.05 < each < 0.15 for each in hard.values()), "where all contradict, it is the questions"


@pytest.mark.parametrize("traffic", [0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("reviewed", [0.1, 0.35])
def test_a_third_of_wrong_labels_spoils_few_rows(traffic: float, reviewed: float) -> None:
    tenants = {"bad": Tenant(traffic, wrong=0.3)} | {name: Tenant((1 - traffic) / 3) for name in "bcd"}
    spoiled = []
    for seed in range(4):
        calls = labelled(tenants, 300, reviewed, Random(seed))
        made = build(calls, [], [], rules(floor_labels=10, near_duplicate=1))
        spoiled.append(poison_in(made.train))
    assert sum(spoiled) / len(spoiled) <= SHARE
    assert max(spoiled) <= 2 * SHARE


def test_clean_labels_are_hardly_touched_where_reviewers_see_a_third() -> None:
    tenants = {name: Tenant(0.25) for name in "abcd"}
    left_out = rows = 0
    for seed in range(4):
        made = build(labelled(tenants, 300, 0.35, Random(seed)), [], [], rules(near_duplicate=1))
        left_out += made.counts["doubtful_left_out"]
        rows += made.counts["fresh_train"]
    assert left_out <= 0.02 * rows


def test_many_small_tenants_without_evidence_stay() -> None:
    calls = [call(n, f"tenant-{n % 60}", "x") for n in range(600)]
    kept, found = limited(calls, calls, TRUSTED, "exact_match", SHARE)
    assert len(kept) == 600 and found == []


def test_who_is_alone_is_not_limited() -> None:
    calls = [call(n, "only", "x") for n in range(50)]
    assert limited(calls, calls, TRUSTED, "exact_match", SHARE) == (calls, [])


def test_what_was_left_out_is_said() -> None:
    tenants = {"bad": Tenant(0.5, wrong=0.3), "b": Tenant(0.5)}
    made = build(labelled(tenants, 300, 0.2, Random(3)), [], [], rules(max_contradiction=1.0, near_duplicate=1))
    assert any(note.startswith("tenant 'bad': ") and "retrain.max_wrong_share" in note for note in made.notes)
    assert made.counts["doubtful_left_out"] > 0


told = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["user", "audit"]), st.booleans()), max_size=60)


@given(told, st.floats(0.01, 1))
def test_no_group_may_spoil_more_than_its_share(pairs: list[tuple[str, str, bool]], share: float) -> None:
    calls = [call(n, tenant, "x" if right else "y", source) for n, (tenant, source, right) in enumerate(pairs)]
    calls += [
        call(n, tenant, "x", "audit") for n, (tenant, source, _) in enumerate(pairs) if source == "user" and n % 2
    ]
    rows = [each for each in calls if each.source == "user"]
    kept, found = limited(rows, calls, TRUSTED, "exact_match", share)
    assert {each.call_id for each in kept} <= {each.call_id for each in rows}
    for each in found:
        if each.kind == "tenant":
            assert each.doubt * each.rows <= share * len(rows) + 1e-9


def test_at_the_gate_harmful_candidates_do_not_pass_and_clean_ones_do() -> None:
    world = poisoned_gate.World(0.5, 0.3, 0.35, older=600)
    clean = poisoned_gate.World(0.25, poisoned_gate.HONEST, 0.35, older=600)
    ours = dict(poisoned_gate.ways())["with limits"]
    poisoned = [poisoned_gate.outcome(world, ours, seed) for seed in range(5)]
    assert not any(each.passed and each.harmful for each in poisoned)
    assert sum(poisoned_gate.outcome(clean, ours, seed).passed for seed in range(5)) >= 4
