"""A role that says anything is alive; one that says nothing is silent for as long as that lasts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tidemill.clock import ManualClock
from tidemill.io.service import Service
from tidemill.settings import Settings


@pytest.mark.parametrize("sign", [Service.ready, Service.beat, lambda service: service.waiting("Kafka")])
def test_every_sign_of_life_ends_the_silence(sign: Callable[[Service], None]) -> None:
    clock = ManualClock(1_000)
    service = Service(Settings(), "sink", clock=clock)
    assert service.silent_s == 0
    clock.advance(90_000)
    assert service.silent_s == 90
    sign(service)
    assert service.silent_s == 0
