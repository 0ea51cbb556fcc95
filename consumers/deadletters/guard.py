"""Holds the sink to the limits: fetches both figures from Kafka, asks ``limits``, raises Stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumers.deadletters.bury import ROLE, Rejected
from consumers.deadletters.limits import HOUR_MS, LEAST, Share, breach, past_of
from consumers.deadletters.reading import Found, quiet_reader
from tidemill.clock import Clock
from tidemill.errors import Retry, Stop
from tidemill.io.kafka import TIMEOUT_S, partition_count, read_to_end
from tidemill.io.ranges import Range
from tidemill.settings import Settings
from tidemill.topics import BY_NAME, Topic

CLIENT = "sink-limits"
RECOUNT_S = 60.0


class Guard:
    """Per range: ``check`` before any effect, ``note`` after all of them.

    So a Stop leaves the range untouched: after a restart with another limit, or a decoder that takes the messages, the
    store knows none of its tokens yet. What only the store refuses is known after the insert; it is counted against
    the range behind.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._shares: dict[tuple[str, int], tuple[int, Share]] = {}
        """By partition: the offset behind the last range, and the share up to there."""
        self._hours: dict[str, tuple[float, int]] = {}
        """By topic: when its letters of an hour were counted (monotonic seconds), and how many, with those since."""

    def check(self, span: Range, rejected: Sequence[Rejected]) -> None:
        """Blocks while Kafka is asked. Raises Stop where a limit is passed, Retry while Kafka is away."""
        share = self._known(span)
        if share is None and not rejected:
            return
        if share is None:
            share = self._from_letters(span)
            self._shares[span.topic, span.partition] = (span.lo, share)
        reason = rejected[0].reason if rejected else "see `tidemill dlq list`"
        hour = self._last_hour(span.topic, len(rejected)) if rejected else 0
        limits = self._settings.dead_letters
        share = share.with_range(len(span.messages), len(rejected))
        why = breach(limits, span.topic, span.partition, share, hour, len(rejected), reason)
        if why is not None:
            raise Stop(why)

    def note(self, span: Range, refused: int) -> None:
        """The range is done; ``refused``: all of its messages that went to the dead letters. Blocks; raises Retry."""
        share = self._known(span)
        if share is None and refused:
            share = self._from_letters(span)
        if share is not None:
            share.add(len(span.messages), refused)
            self._shares[span.topic, span.partition] = (span.hi + 1, share)
        if refused and span.topic in self._hours:
            at_s, count = self._hours[span.topic]
            self._hours[span.topic] = (at_s, count + refused)

    def _known(self, span: Range) -> Share | None:
        """The share up to this range, unless another member had the partition since."""
        after, share = self._shares.get((span.topic, span.partition), (0, None))
        if share is not None and not 0 <= span.lo - after < LEAST:
            del self._shares[span.topic, span.partition]
            return None
        return share

    def _from_letters(self, span: Range) -> Share:
        """The share up to this range, from the newest letters."""
        topic = BY_NAME[span.topic]
        reader = quiet_reader(self._settings, CLIENT, topic)
        try:
            start = reader.get_watermark_offsets(TopicPartition(span.topic, span.partition), timeout=TIMEOUT_S)[0]
            newest = []
            for place in _places(reader, topic):
                low, high = reader.get_watermark_offsets(place, timeout=TIMEOUT_S)
                newest.append(TopicPartition(place.topic, place.partition, max(low, high - LEAST)))
            reader.assign(newest)
            places = [Found(span.topic, message).place for message in read_to_end(reader)]
        except KafkaException as error:
            raise Retry(f"Kafka does not say what is in {topic.dlq}: {error}") from error
        finally:
            reader.close()
        return Share(past_of(span.lo, start, [place[1] for place in places if place and place[0] == span.partition]))

    def _last_hour(self, topic: str, more: int) -> int:
        """Letters of the last hour; counted anew after ``RECOUNT_S``, and before a limit is said to be passed."""
        now_s = self._clock.monotonic_s()
        at_s, count = self._hours.get(topic, (None, 0))
        if at_s is None or now_s - at_s > RECOUNT_S or count + more > self._settings.dead_letters.max_per_hour:
            count = self._counted(BY_NAME[topic])
            self._hours[topic] = (now_s, count)
        return count

    def _counted(self, topic: Topic) -> int:
        """Letters of the sink's own that were sent within the last hour and are still there, each once."""
        reader = quiet_reader(self._settings, CLIENT, topic)
        try:
            since = self._clock.now_ms() - HOUR_MS
            asked = [TopicPartition(place.topic, place.partition, since) for place in _places(reader, topic)]
            reader.assign([place for place in reader.offsets_for_times(asked, timeout=TIMEOUT_S) if place.offset >= 0])
            return len(sent_since((Found(topic.name, message) for message in read_to_end(reader)), since))
        except KafkaException as error:
            raise Retry(f"Kafka does not say what is in {topic.dlq}: {error}") from error
        finally:
            reader.close()


def sent_since(letters: Iterable[Found], since_ms: int) -> set[str]:
    """Ids of the sink's letters sent since then: no marker, nobody else's, no older one that was written again."""
    return {each.id for each in letters if each.role == ROLE and each.time_ms >= since_ms}


def _places(reader: Consumer, topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.dlq, partition) for partition in range(partition_count(reader, topic.dlq))]
