"""Ids: UUIDv7 order and time, and completion ids that cannot be read or forged."""

from __future__ import annotations

import pytest

from tidemill.errors import Quarantine
from tidemill.ids import MAX_SLICE_VALUE, CompletionIds, Routing, derived_id, new_routing_key, uuid7, uuid7_time_ms

NOW = 1_763_800_000_000


def routing(variant: str = "champion", version: str = "schedule-v1") -> Routing:
    call_id = uuid7(NOW)
    return Routing(call_id, "schedule", version, variant, NOW)


def test_uuid7_carries_its_time_and_sorts_by_it() -> None:
    assert uuid7_time_ms(uuid7(NOW)) == NOW
    assert uuid7(NOW) < uuid7(NOW + 1)
    assert uuid7(NOW)[14] == "7"


def test_uuid7_needs_ten_random_bytes() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        uuid7(NOW, b"short")


def test_a_completion_id_says_what_was_served() -> None:
    ids = CompletionIds(new_routing_key())
    made = routing()
    assert ids.read(ids.make(made)) == made
    assert ids.make(made) == ids.make(made)


def test_a_completion_id_shows_no_arm_to_the_client() -> None:
    ids = CompletionIds(new_routing_key())
    champion, canary = ids.make(routing("champion", "schedule-v1")), ids.make(routing("canary", "schedule-v12"))
    assert "schedule" not in champion
    assert len(champion) == len(canary)


def test_a_completion_id_says_of_which_slices_its_call_is() -> None:
    ids = CompletionIds(new_routing_key())
    sliced = {"tenant": "acme\n]", "attributes.language": ""}
    made = routing()._replace(slices=sliced)
    assert ids.read(ids.make(made)) == made
    long = made._replace(slices=sliced | {"prompt_version": "x" * (MAX_SLICE_VALUE + 1)})
    assert ids.read(ids.make(long)) == made, "a long value is not known"
    arms = (("champion", "schedule-v1"), ("canary", "schedule-v12"))
    assert len({len(ids.make(routing(*arm)._replace(slices=sliced))) for arm in arms}) == 1
    assert len(ids.make(made)) < 260


@pytest.mark.parametrize("change", [lambda i: i[:-3] + "AAA", lambda i: i[:12] + "0" + i[13:], lambda i: i[:60]])
def test_an_altered_completion_id_is_refused(change: object) -> None:
    ids = CompletionIds(new_routing_key())
    with pytest.raises(Quarantine, match="not authentic"):
        ids.read(change(ids.make(routing())))  # type: ignore[operator]


def test_an_id_of_another_deployment_is_refused() -> None:
    foreign = CompletionIds(new_routing_key()).make(routing())
    with pytest.raises(Quarantine, match="not authentic"):
        CompletionIds(new_routing_key()).read(foreign)


def test_an_id_of_another_kind_is_refused() -> None:
    with pytest.raises(Quarantine, match="not an id handed out"):
        CompletionIds(new_routing_key()).read("chatcmpl-123")


def test_a_short_routing_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        CompletionIds(b"short")


def test_derived_ids_depend_on_their_parts_alone() -> None:
    assert derived_id("job", "a1") == derived_id("job", "a1")
    assert derived_id("ab", "c") != derived_id("a", "bc")
