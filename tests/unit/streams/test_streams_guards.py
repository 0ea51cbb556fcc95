"""The watchdog, the credentials, the table's keys."""

from __future__ import annotations

import pytest

from streams.app.credentials import credentials
from streams.app.table import key_of, partition_of, states_of
from streams.app.watchdog import Watchdog
from tidemill.errors import Stop


def test_standing_still_while_messages_wait_is_noticed() -> None:
    dog = Watchdog(30)
    assert not dog.stands_still(0, 100, 7)
    assert not dog.stands_still(29, 150, 7)
    assert dog.stands_still(30, 150, 7)


def test_work_and_quiet_are_no_standstill() -> None:
    dog = Watchdog(30)
    assert not any(dog.stands_still(now, 1_000, now) for now in range(0, 600, 5))
    dog = Watchdog(30)
    assert not any(dog.stands_still(now, 0, 7) for now in range(0, 600, 5))


def test_plaintext_needs_no_credentials() -> None:
    assert credentials({}) is None
    assert credentials({"linger.ms": 5, "security.protocol": "PLAINTEXT"}) is None


def test_sasl_is_carried_over() -> None:
    found = credentials(
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "me",
            "sasl.password": "x",
        }
    )
    assert (found.username, str(found.mechanism.value)) == ("me", "SCRAM-SHA-512")


@pytest.mark.parametrize("options", [{"ssl.key.location": "/k"}, {"security.protocol": "magic"}])
def test_what_cannot_be_carried_over_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(Stop, match=r"kafka\.options\."):
        credentials(options)


def test_keys_say_where_a_state_belongs() -> None:
    key = key_of(11, "a/b")
    assert partition_of(key) == 11
    assert states_of({key: b"x", key_of(1, "a"): b"y"}, 11) == {"a/b": b"x"}
