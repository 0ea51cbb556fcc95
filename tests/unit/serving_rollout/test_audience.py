"""Who is live is known late rather than wrongly."""

from __future__ import annotations

from serving.rollout.audience import LIVE_S, Audience
from tidemill.events import GatewayStatus

FAR_BEHIND_MS = 5


def gateway(name: str) -> GatewayStatus:
    """A gateway whose clock is decades behind."""
    return GatewayStatus(gateway_id=name, time_ms=FAR_BEHIND_MS, epochs={}, in_flight={})


def followed(*looks: float) -> Audience:
    audience = Audience()
    for now_s in looks:
        audience.looked(now_s, contact=True)
    return audience


def names(audience: Audience) -> list[str] | None:
    live = audience.live()
    return None if live is None else [status.gateway_id for status in live]


def test_nothing_is_known_until_gateways_were_followed_for_long_enough() -> None:
    assert Audience().live() is None
    assert followed(100, 102, 104.9).live() is None
    assert followed(100, 102, 104, 105).live() == []


def test_a_gateway_lives_by_when_it_is_heard_not_by_its_clock() -> None:
    audience = followed(100, 104)
    audience.heard(gateway("a"), 104)
    audience.looked(108, contact=True)
    assert names(audience) == ["a"]
    audience.looked(109.5, contact=True)
    assert names(audience) == []


def test_a_caller_that_was_busy_does_not_take_everybody_for_gone() -> None:
    audience = followed(100, 104)
    audience.heard(gateway("a"), 105)
    audience.looked(105, contact=True)
    assert names(audience) == ["a"], "however late it is by now"
    audience.looked(105 + LIVE_S + 1, contact=True)
    assert audience.live() is None, "what was said in the pause may not have come yet"


def test_silence_while_kafka_is_away_says_nothing() -> None:
    audience = followed(100, 104, 108)
    audience.looked(109, contact=False)
    assert audience.live() is None
    audience.looked(110, contact=True)
    assert audience.live() is None
    audience.looked(113, contact=True)
    audience.looked(115, contact=True)
    assert audience.live() == []


def test_how_long_nobody_was_heard() -> None:
    audience = followed(100)
    assert audience.silent_s(101) == float("inf")
    audience.heard(gateway("a"), 101)
    audience.heard(gateway("b"), 102)
    assert audience.silent_s(104) == 2
