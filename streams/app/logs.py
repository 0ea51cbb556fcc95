"""What the broker says of the topics that the states speak of: their ids, and each partition's ends."""

from __future__ import annotations

from confluent_kafka import KafkaException, TopicPartition

from streams.partition import Log
from tidemill.errors import Retry
from tidemill.io import kafka, topic_admin
from tidemill.settings import Settings
from tidemill.topics import METERED, PARTIALS

TOPICS = (PARTIALS, *METERED)
"""Those whose offsets the states hold."""
TIMEOUT_S = 5.0


def topic_ids(settings: Settings) -> dict[str, str]:
    """The ids of TOPICS. Raises Retry while one is not there."""
    return topic_admin.topic_ids(settings, [topic.name for topic in TOPICS])


class Logs:
    """Asks about a group and joins nothing. Blocks; thread-safe."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        # A transaction that is open may hide the end, but Faust reads beyond it.
        self._client = kafka.consumer(settings, "tidemill-streams-logs", group, isolation_level="read_uncommitted")

    def of(self, partitions: list[int]) -> dict[int, Log]:
        """These partitions of the partials. Raises Retry where the broker does not answer."""
        ids = topic_ids(self._settings)
        found = {}
        try:
            places = [TopicPartition(PARTIALS.name, partition) for partition in partitions]
            for place in self._client.committed(places, timeout=TIMEOUT_S):
                low, end = self._client.get_watermark_offsets(place, timeout=TIMEOUT_S)
                found[int(place.partition)] = Log(ids, int(low), int(end), int(place.offset))
        except (KafkaException, TypeError) as error:  # an answer that did not come in time is None
            raise Retry(f"Kafka does not say where {PARTIALS.name} begins and ends: {error}") from error
        return found

    def close(self) -> None:
        """Ask no more."""
        self._client.close()
