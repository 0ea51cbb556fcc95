"""`tidemill dlq` on a real broker: what was refused is seen, sent back once and removed, whatever happens between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition
from typer.testing import CliRunner, Result

from consumers.deadletters import drop as dropping
from consumers.deadletters import replay as replaying
from consumers.deadletters.bury import DeadLetters, Rejected
from consumers.deadletters.reading import Found, Wanted, letters, remembered
from tests.integration.role_process import ROOT, environment_of
from tidemill.cli.main import app
from tidemill.io.headers import UNREADABLE
from tidemill.io.kafka import follower, producer, read_to_end
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, MAX_DLQ_MESSAGE_BYTES, RESPONSES, Topic

ALL = Wanted()
LARGE = b"[" * 1_300_000
ODD_KEY = b"\xff\x00\x9b2J"
SENT: list[tuple[bytes | None, bytes | None]] = [
    (b"one", b'{"a": 1'),
    (b"gone", None),
    (ODD_KEY, b"\xff\xfe\x00binary"),
    (None, b"no key"),
    (b"large", LARGE),
    (b"empty", b""),
]


@pytest.fixture
def deployment(settings: Settings, fresh_topics: None, unique: Callable[[str], str]) -> Iterator[Settings]:
    """Empty topics, and a deployment of its own (its name fences other replays)."""
    yield settings.model_copy(update={"deployment": unique("dlq")})


def place(settings: Settings, topic: Topic, sent: list[tuple[bytes | None, bytes | None]]) -> list[Message]:
    """Send messages to their topic; give them back as read there."""
    before = len(messages(settings, topic))
    made = producer(settings, "test-dlq")
    for key, value in sent:
        made.produce(topic.name, value, key, headers=[("origin", b"\x00\xff"), ("none", None)])
    assert made.flush(30) == 0
    return messages(settings, topic)[before:]


def unreadable(settings: Settings, topic: Topic) -> list[Message]:
    """Messages with a header whose name is not UTF-8, as other languages' clients can send it."""
    script = (
        "import asyncio, sys\nfrom aiokafka import AIOKafkaProducer\n"
        "class Latin1(str):\n  def encode(self, *_, **__): return b'\\xff'\n"
        "async def send():\n  made = AIOKafkaProducer(bootstrap_servers=sys.argv[1])\n  await made.start()\n"
        "  for n in range(20): await made.send_and_wait(sys.argv[2], b'{', b'odd', headers=[(Latin1('name'), b'1')])\n"
        "  await made.stop()\nasyncio.run(send())\n"
    )
    command = [sys.executable, "-c", script, settings.kafka_bootstrap, topic.name]
    subprocess.run(command, check=True, env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"}, timeout=60)
    return messages(settings, topic)


def bury(settings: Settings, found: list[Message], reason: str = "schema: no field 7", stage: str = "decode") -> None:
    assert (
        DeadLetters(settings, "test-dlq").send(
            [Rejected(message, reason, stage) for message in found], waiting=lambda: True
        )
        == []
    )


def messages(settings: Settings, topic: Topic) -> list[Message]:
    """The committed messages of a topic in order of their time stamps."""
    reader = follower(settings, "test-dlq", topic)
    found = list(read_to_end(reader))
    reader.close()
    return sorted(found, key=lambda m: (m.timestamp()[1], m.partition(), m.offset()))


def contents(found: list[Message]) -> Counter[tuple[Any, Any, tuple[Any, ...]]]:
    return Counter((m.key(), m.value(), tuple(m.headers() or ())) for m in found)


def tidemill(settings: Settings, *words: str) -> Result:
    """The command as a user gives it, with nobody at the keyboard."""
    found = CliRunner().invoke(
        app,
        ["--settings", str(ROOT / "tidemill.yaml"), "dlq", *words],
        env=environment_of(settings) | {"TIDEMILL_KAFKA__BOOTSTRAP": settings.kafka_bootstrap, "COLUMNS": "250"},
    )
    return found


def said(found: Result) -> Any:
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def killed(settings: Settings, work: str, patch: str) -> None:
    """Run ``work`` in a process that ends itself with SIGKILL where ``patch`` says so."""
    script = (
        "import os, signal, sys\n"
        "from tidemill.settings import load_settings\n"
        "from pathlib import Path\n"
        "from tidemill.io import kafka\n"
        "from tidemill.topics import RESPONSES\n"
        "from consumers.deadletters import drop, reading, replay\n"
        "settings = load_settings(Path(sys.argv[1]))\n"
        "def end(): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + patch + work, str(ROOT / "tidemill.yaml")],
        env=os.environ | environment_of(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr


def test_what_was_refused_is_listed_shown_sent_back_once_and_dropped(deployment: Settings) -> None:
    assert tidemill(deployment, "list").stdout == "no dead letters in any topic\n"
    found = place(deployment, RESPONSES, SENT)
    bury(deployment, found)

    (group,) = said(tidemill(deployment, "list", "--json"))["groups"]
    assert (group["topic"], group["stage"], group["reason"]) == (RESPONSES.name, "decode", "schema: no field N")
    assert (group["letters"], group["replayed"]) == (len(SENT), 0) and group["first_ms"] <= group["last_ms"]
    assert group["partitions"] == sorted({m.partition() for m in found})

    shown = said(tidemill(deployment, "show", "--json", "--topic", RESPONSES.name))["letters"]
    assert "value" not in shown[0] and {each["key"] for each in shown} >= {"one", "hex " + ODD_KEY.hex(), None}
    assert {each["value_bytes"] for each in shown} == {None if value is None else len(value) for _, value in SENT}
    at = next(m for m in found if m.key() == b"one")
    where = ("--partition", str(at.partition()), "--offset", str(at.offset()))
    (one,) = said(tidemill(deployment, "show", "--json", "--values", "--topic", RESPONSES.name, *where))["letters"]
    assert one["value"] == '{"a": 1' and one["headers"] == [["origin", "hex 00ff"], ["none", None]]
    assert '{"a": 1' not in tidemill(deployment, "show", *where).stdout
    assert '{"a": 1' in tidemill(deployment, "show", "--values", *where).stdout

    asked = tidemill(deployment, "replay")
    assert asked.exit_code == 1 and "add --yes" in str(asked.exception)
    assert said(tidemill(deployment, "replay", "--dry-run", "--json"))["topics"][0]["sent"] == len(SENT)
    assert len(messages(deployment, RESPONSES)) == len(SENT)
    done = tidemill(deployment, "replay", "--yes")
    assert done.stdout == f"{RESPONSES.name}: {len(SENT)} sent back and acknowledged\n"
    assert contents(messages(deployment, RESPONSES)) == contents(found + found)
    again = tidemill(deployment, "replay", "--yes")
    assert again.stdout == f"{RESPONSES.name}: {len(SENT)} not sent: sent back before\n"
    assert len(messages(deployment, RESPONSES)) == 2 * len(SENT)
    assert said(tidemill(deployment, "list", "--json"))["groups"][0]["replayed"] == len(SENT)

    gone = tidemill(deployment, "drop", "--replayed", "--yes")
    assert gone.stdout == f"{RESPONSES.name}: {len(SENT)} removed, 0 written again\n"
    assert tidemill(deployment, "drop", "--yes").stdout == "no dead letter matches\n"
    assert "no dead letters" in tidemill(deployment, "list").stdout


def test_a_stub_and_what_never_was_a_message_are_not_sent_back(deployment: Settings) -> None:
    huge = Message(topic=RESPONSES.name, partition=0, offset=7, value=b"{" * (MAX_DLQ_MESSAGE_BYTES + 1), key=b"huge")
    bury(deployment, [huge])
    made = producer(deployment, "test-dlq")
    made.produce(FEEDBACK.dlq, b"{}", headers=[("__connect.errors.topic", FEEDBACK.name.encode())])
    made.flush(30)
    done = tidemill(deployment, "replay", "--yes").stdout
    assert f"{RESPONSES.name}: 1 not sent: stubs" in done and f"{FEEDBACK.name}: 1 not sent: never were" in done
    assert messages(deployment, RESPONSES) == messages(deployment, FEEDBACK) == []


def test_a_letter_its_topic_does_not_take_holds_up_no_other(deployment: Settings) -> None:
    noise = os.urandom(3_000_000)
    small = Message(topic=RESPONSES.name, partition=0, offset=8, value=b"small", key=b"k")
    bury(deployment, [Message(topic=RESPONSES.name, partition=0, offset=7, value=noise, key=b"k"), small])
    tally = replaying.replay(deployment, RESPONSES, ALL)
    assert (tally.sent, len(tally.too_large)) == (1, 1)
    assert [m.value() for m in messages(deployment, RESPONSES)] == [b"small"]
    assert replaying.replay(deployment, RESPONSES, ALL).already == 1


def test_killed_between_send_and_remember_every_message_goes_back_once(deployment: Settings) -> None:
    found = place(deployment, RESPONSES, [(f"k{n}".encode(), f"bad {n}".encode()) for n in range(1_200)])
    bury(deployment, found)
    dying = (
        "made = kafka.transactional_producer\n"
        "class Dying:\n"
        "    commits = 0\n"
        "    def __init__(self, *given): self.inner = made(*given)\n"
        "    def __len__(self): return len(self.inner)\n"
        "    def __getattr__(self, name): return getattr(self.inner, name)\n"
        "    def commit_transaction(self, *given):\n"
        "        Dying.commits += 1\n"
        "        if Dying.commits == 2: self.inner.flush(30); end()\n"
        "        return self.inner.commit_transaction(*given)\n"
        "kafka.transactional_producer = Dying\n"
    )
    killed(deployment, "replay.replay(settings, RESPONSES, reading.Wanted())\n", dying)
    assert len(remembered(deployment, RESPONSES)) == replaying.BATCH
    tally = replaying.replay(deployment, RESPONSES, ALL)
    assert (tally.already, tally.sent) == (replaying.BATCH, len(found) - replaying.BATCH)
    assert contents(messages(deployment, RESPONSES)) == contents(found + found)


def test_a_drop_with_holes_keeps_the_others_as_they_were(deployment: Settings) -> None:
    found = place(deployment, RESPONSES, SENT)
    bury(deployment, found)
    more = place(deployment, RESPONSES, [(b"one", b"other"), (b"gone", b"other"), (None, b"other")])
    bury(deployment, more, "json: torn")
    before = {letter.id: letter for letter in letters(deployment, RESPONSES, ALL)}
    replaying.replay(deployment, RESPONSES, Wanted(reason="SCHEMA: no field 7"))
    done = tidemill(deployment, "drop", "--reason", "torn", "--yes")
    assert done.exit_code == 0 and "3 removed" in done.stdout, done.output
    left = list(letters(deployment, RESPONSES, ALL))
    assert Counter(map(same, left)) == Counter(same(each) for each in before.values() if "torn" not in each.reason)
    assert replaying.replay(deployment, RESPONSES, ALL).already == len(SENT)


def same(letter: Found) -> tuple[Any, ...]:
    return (letter.id, letter.key, letter.value, tuple(letter.own), letter.time_ms, letter.reason, letter.partition)


def test_killed_in_a_drop_letters_may_repeat_and_none_is_lost(deployment: Settings) -> None:
    found = place(deployment, RESPONSES, [(b"k", f"bad {n}".encode()) for n in range(20)])
    bury(deployment, found[::2], "keep me")
    bury(deployment, found[1::2], "drop me")
    dying = "kafka.AdminClient.delete_records = lambda *_: end()\n"
    wanted = 'drop.plan(settings, RESPONSES, reading.Wanted(reason="drop"), only_replayed=False)'
    killed(deployment, f"drop.drop(settings, {wanted})\n", dying)
    assert len(list(letters(deployment, RESPONSES, ALL))) == 30
    cut = dropping.plan(deployment, RESPONSES, Wanted(reason="drop"), only_replayed=False)
    dropping.drop(deployment, cut)
    left = list(letters(deployment, RESPONSES, ALL))
    assert {letter.value for letter in left} == {m.value() for m in found[::2]}
    tally = replaying.replay(deployment, RESPONSES, ALL)
    assert (tally.sent, tally.already) == (10, len(left) - 10)


def test_a_marker_outlives_the_place_it_was_written_for(deployment: Settings) -> None:
    found = place(deployment, RESPONSES, [(b"k", b"first"), (b"k", b"second")])
    bury(deployment, found)
    replaying.replay(deployment, RESPONSES, Wanted(partition=found[0].partition(), offset=found[0].offset()))
    bury(deployment, place(deployment, RESPONSES, [(b"k", b"third")]), "late")
    dropping.drop(deployment, dropping.plan(deployment, RESPONSES, Wanted(reason="late"), only_replayed=False))
    reader = follower(deployment, "test-dlq", Topic(RESPONSES.dlq, None, "", 2, "", ""))
    lows = [reader.get_watermark_offsets(TopicPartition(RESPONSES.dlq, p), timeout=10)[0] for p in range(2)]
    reader.close()
    assert max(lows) > 0
    tally = replaying.rehearse(deployment, RESPONSES, ALL)
    assert (tally.already, tally.sent) == (1, 1)


def test_headers_that_cannot_be_read_are_no_end(deployment: Settings) -> None:
    """The client would die of them; all else of the messages is kept, and sent back."""
    bury(deployment, unreadable(deployment, RESPONSES))
    found = list(letters(deployment, RESPONSES, ALL))
    assert len(found) == 20
    assert {(one.key, one.value, *one.own) for one in found} == {(b"odd", b"{", UNREADABLE)}
    assert tidemill(deployment, "replay", "--yes").exit_code == 0
    assert [message.headers() for message in messages(deployment, RESPONSES)[-20:]] == [[UNREADABLE]] * 20
