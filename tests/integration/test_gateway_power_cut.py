"""A power cut took the spool's unsynced tail: what is appended before Kafka can be asked again still goes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from serving.gateway.drain import Drainer, Envelope, pack
from serving.gateway.spool import Spool
from tests.waiting import until
from tidemill.io.kafka import consumer
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, GATEWAYS

BEFORE_THE_CUT = 10_000


def test_records_appended_after_a_power_cut_reach_kafka(
    settings: Settings, kafka: str, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    spool_id = unique("cut")
    reader = consumer(settings, spool_id, unique("reader"))
    partitions = reader.list_topics(FEEDBACK.dlq, timeout=10).topics[FEEDBACK.dlq].partitions
    reader.assign([TopicPartition(FEEDBACK.dlq, number, OFFSET_BEGINNING) for number in partitions])
    group = consumer(settings, spool_id, f"tidemill-gateway-{spool_id}-spool")
    slot = TopicPartition(GATEWAYS.name, 0)
    group.commit(offsets=[TopicPartition(slot.topic, slot.partition, BEFORE_THE_CUT)], asynchronous=False)
    spool = Spool(tmp_path, 1 << 24, new_id=lambda: spool_id)
    sent = [b"x" * 2 * BEFORE_THE_CUT, b"after the cut"]
    spool.append([pack(Envelope(FEEDBACK.dlq, "key", value)) for value in sent])
    drainer = Drainer(settings, spool)
    drainer.start()
    read: list[bytes] = []

    def arrived() -> bool:
        read.extend(m.value() for m in reader.consume(100, 0.5) if m.error() is None and m.value() in sent)
        return len(read) >= len(sent)

    until(arrived, within_s=60, what="both records arrive")
    assert drainer.stop(30)
    assert read == sent
    assert group.committed([slot], timeout=10)[0].offset == spool.end
    group.close()
    reader.close()
