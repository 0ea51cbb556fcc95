"""How far a group is behind the messages that some topics held at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType

from confluent_kafka import KafkaException, TopicPartition

from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.settings import Settings

POLL_S = 0.2


class Lag:
    """Of the messages there are when it is made, those a group has not answered for. Asks only, joins nothing.

    Methods block and raise Retry when Kafka does not answer.
    """

    def __init__(self, settings: Settings, client: str, group: str, topics: Iterable[str], *, held: int = 0) -> None:
        """``held``: messages of each partition that the group has handled and not committed."""
        self._client = kafka.consumer(settings, client, group)
        self._held = held
        try:
            self._places = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in range(kafka.partition_count(self._client, topic))
            ]
            self._spans = [self._client.get_watermark_offsets(at, timeout=kafka.TIMEOUT_S) for at in self._places]
        except KafkaException as error:
            self._client.close()
            raise Retry(f"Kafka does not answer: {error}") from error

    def __enter__(self) -> Lag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.close()

    @property
    def begun(self) -> bool:
        """Whether the group has ever committed anything."""
        return any(at >= 0 for at in self._committed())

    @property
    def messages(self) -> int:
        """How many are not answered for yet."""
        pairs = zip(self._committed(), self._spans, strict=True)
        return sum(max(0, high - self._held - max(low, at)) for at, (low, high) in pairs)

    def wait(self, within_s: float, alive: Callable[[], None] = lambda: None) -> int:
        """What is left after ``within_s`` seconds, or 0 as soon as nothing is; ``alive`` is called in between."""
        for _ in range(round(within_s / POLL_S)):
            alive()
            if not self.messages:
                return 0
            self._client.poll(POLL_S)
        return self.messages

    def _committed(self) -> list[int]:
        try:
            return [found.offset for found in self._client.committed(self._places, timeout=kafka.TIMEOUT_S)]
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {error}") from error
