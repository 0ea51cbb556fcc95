"""The search for the slice behind a change: a planted one is found, noise is not called one."""

from __future__ import annotations

import numpy as np
import pytest

from consumers.evidence.slices import FEW_CALLS, Row, search
from tests.unit.consumers_evidence.made import rows


@pytest.mark.parametrize("after", [250, 2_000])
def test_a_planted_slice_is_found_and_named(after: int) -> None:
    chance = np.random.default_rng(after)
    found = search(
        rows(chance, 2_000, lambda _: 0.95), rows(chance, after, lambda tenant: 0.1 if tenant == "acme" else 0.95)
    )
    assert (found.found, found.telling) == ("slice", 1)
    first = found.slices[0]
    assert (first.dimension, first.value) == ("tenant", "acme")
    assert first.explains is not None and 0.7 < first.explains < 1.3
    assert first.p_value is not None and first.p_value <= 0.01


def test_the_narrowest_of_slices_within_each_other_is_named() -> None:
    chance = np.random.default_rng(3)
    region = {"acme": "eu", "dune": "eu", "bolt": "us", "cove": "us"}

    def placed(side: list[Row]) -> list[Row]:
        return [Row(row.value, {**row.slices, "attributes.region": region[row.slices["tenant"]]}) for row in side]

    before = placed(rows(chance, 2_000, lambda _: 0.95))
    after = placed(rows(chance, 1_000, lambda tenant: 0.1 if tenant == "acme" else 0.95))
    found = search(before, after)
    assert [(each.dimension, each.value) for each in found.slices[: found.telling]] == [
        ("tenant", "acme"),
        ("attributes.region", "eu"),
    ]


def test_a_slice_that_only_grew_explains_by_its_share() -> None:
    chance = np.random.default_rng(4)
    before = [Row(float(chance.random() < 0.9), {"kind": "plain"}) for _ in range(1_000)]
    before += [Row(float(chance.random() < 0.2), {"kind": "hard"}) for _ in range(50)]
    after = [Row(float(chance.random() < 0.9), {"kind": "plain"}) for _ in range(300)]
    after += [Row(float(chance.random() < 0.2), {"kind": "hard"}) for _ in range(200)]
    found = search(before, after)
    first = found.slices[0]
    assert (found.found, first.value) == ("slice", "hard")
    assert abs(first.mix) > 5 * abs(first.within)


def test_a_value_that_replaced_another_is_said_to_coincide() -> None:
    chance = np.random.default_rng(5)
    before = [Row(float(chance.random() < 0.9), {"prompt_version": "v1"}) for _ in range(400)]
    after = [Row(float(chance.random() < 0.3), {"prompt_version": "v2"}) for _ in range(200)]
    found = search(before, after)
    assert (found.found, found.telling) == ("slice", 1)
    assert found.slices[0].value == "v2" and found.slices[0].coincides and found.slices[0].explains is None


def test_a_change_that_all_slices_share_names_none() -> None:
    """The full measurement is in docs/how-to/why-did-it-fire.md."""
    named = 0
    for seed in range(30):
        chance = np.random.default_rng(seed)
        named += search(rows(chance, 600, lambda _: 0.95), rows(chance, 150, lambda _: 0.6)).telling
    assert named <= 1


def test_without_a_change_there_is_nothing_to_explain() -> None:
    chance = np.random.default_rng(6)
    found = search(rows(chance, 500, lambda _: 0.9), rows(chance, 500, lambda _: 0.9))
    assert (found.found, found.telling) == ("unchanged", 0)
    assert search(rows(chance, FEW_CALLS - 1, lambda _: 1.0), rows(chance, 500, lambda _: 0.0)).found == "too_few_calls"


def test_a_slice_of_few_calls_is_not_named_however_bad() -> None:
    chance = np.random.default_rng(8)
    after = rows(chance, 500, lambda _: 0.75)
    after += [Row(0.0, {"tenant": "tiny"}) for _ in range(FEW_CALLS - 1)]
    found = search(rows(chance, 2_000, lambda _: 0.95), after)
    assert "tiny" not in {each.value for each in found.slices}
    assert any(each.rest for each in found.slices if each.dimension == "tenant")


def test_equal_rows_give_an_equal_answer() -> None:
    chance = np.random.default_rng(9)
    before, after = rows(chance, 300, lambda _: 0.9), rows(chance, 300, lambda _: 0.5)
    assert search(before, after) == search(before, after)


def test_values_of_hostile_length_and_number_stay_bounded() -> None:
    chance = np.random.default_rng(10)
    before = [Row(1.0, {f"attributes.{n}": "x" * 10_000 + str(i % 90) for n in range(200)}) for i in range(200)]
    after = [Row(float(chance.random() < 0.5), dict(row.slices)) for row in before]
    found = search(before, after)
    assert all(len(each.value) <= 80 for each in found.slices) and len(found.slices) <= 24 * 21
