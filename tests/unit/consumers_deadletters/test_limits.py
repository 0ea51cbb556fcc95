"""When the sink stops refusing: enough messages, too large a share, too many in an hour; and what it says then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.deadletters.limits import LEAST, Share, breach, past_of
from tidemill.settings.monitoring import DeadLetterSettings

DEFAULTS = DeadLetterSettings()


def said(share: Share, *, hour: int = 0, refused: int = 1, settings: DeadLetterSettings = DEFAULTS) -> str | None:
    return breach(settings, "inference.requests", 1, share, hour, refused, "json: torn " + "x" * 500)


def test_too_few_messages_say_nothing() -> None:
    assert said(Share([(LEAST - 1, LEAST - 1)])) is None
    assert said(Share([(LEAST, LEAST)])) is not None


def test_exactly_the_share_is_not_more_than_it() -> None:
    assert said(Share([(LEAST, LEAST // 2)])) is None
    assert said(Share([(LEAST, LEAST // 2 + 1)])) is not None


def test_a_share_of_one_never_stops() -> None:
    assert said(Share([(10 * LEAST, 10 * LEAST)]), settings=DeadLetterSettings(max_share=1)) is None


def test_an_hours_letters_are_counted_with_those_to_come() -> None:
    few = DeadLetterSettings(max_per_hour=100)
    share = Share([(10 * LEAST, 1)])
    assert said(share, hour=90, refused=10, settings=few) is None
    assert said(share, hour=90, refused=11, settings=few) is not None
    assert said(share, hour=200, refused=0, settings=few) is None


def test_the_reason_names_topic_figures_setting_and_ways_out_in_what_status_shows() -> None:
    for why, setting in (
        (said(Share([(20_000, 19_999)])), "dead_letters.max_share 0.5"),
        (said(Share(), hour=99_999, refused=20_000), "dead_letters.max_per_hour 100000"),
    ):
        assert why is not None and len("tidemill: " + why) <= 300, why
        assert "inference.requests" in why and setting in why and "json: torn" in why and "Mend the producer" in why


def test_old_messages_are_forgotten_as_new_ones_come() -> None:
    share = Share([(LEAST, LEAST)])
    share.add(LEAST - 1, 0)
    assert (share.messages, share.refused) == (2 * LEAST - 1, LEAST)
    share.add(1, 0)
    assert (share.messages, share.refused) == (LEAST, 0)


@given(st.lists(st.integers(0, 3 * LEAST), max_size=20))
def test_it_holds_the_newest_ranges_that_suffice(sizes: list[int]) -> None:
    ranges = [(size, size % 101) for size in sizes]
    share = Share()
    for messages, refused in ranges:
        expected = share.with_range(messages, refused)
        share.add(messages, refused)
        assert (share.messages, share.refused) == (expected.messages, expected.refused)
    total = sum(messages for messages, _ in ranges)
    assert 0 <= share.refused <= share.messages <= total
    assert share.messages >= min(total, LEAST)


@given(st.lists(st.integers(1, LEAST), max_size=20))
def test_poison_at_a_low_share_never_stops(sizes: list[int]) -> None:
    share = Share()
    for size in sizes:
        share.add(size, size // 3)
        assert said(share) is None


def test_the_past_is_the_last_messages_that_the_partition_still_has() -> None:
    past = past_of(5_000, 4_200, [4_100, 4_200, 4_999, 5_000])
    assert len(past) == 800 and past[0] == (1, 1) and past[-1] == (1, 1) and sum(r for _, r in past) == 2
    assert len(past_of(5_000, 0, [])) == LEAST
    assert past_of(0, 0, [3]) == []
