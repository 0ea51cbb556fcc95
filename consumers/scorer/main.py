"""The scorer process.

One round:
1. read feedback: labels join the waiting ones, our own scores coming back are remembered;
2. one query for the labels that are due;
3. scores not yet said and the offsets go out in one Kafka transaction.

Exactly once: the committed offset of a partition is that of its first waiting label. Scores go into the partition of
their label (whose producer may have chosen it in another way than by our key), so after a restart all scores already
said for the labels read again lie further on in it: nothing is said before the partition was read to where it ended.
The transaction (offsets included) keeps a predecessor that still lives from writing beside us.
"""

from __future__ import annotations

import logging
import math

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from prometheus_client import Counter, Gauge

from consumers.scorer.answers import find, landed
from consumers.scorer.scores import is_label, is_score, score_of
from consumers.scorer.waiting import Label, Waiting
from tidemill.codec import encode
from tidemill.errors import Quarantine, Retry, Stop, TidemillError
from tidemill.events import Feedback
from tidemill.io.clickhouse import Store, StoreError
from tidemill.io.kafka import consumer, end_of, partition_count, producer, send_offsets
from tidemill.io.service import Service
from tidemill.scoring import METRIC_VERSIONS
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK

log = logging.getLogger(__name__)
GROUP = "tidemill-scorer"
MAX_WAITING = 10_000
MAX_LOOKUP = 500
COMMIT_EVERY_S = 2.0
LOOK_EVERY_S = 0.5
"""One look-up for all labels that wait, at most so often."""

SCORES = Counter("tidemill_scorer_scores_total", "scores written by pipeline", ["pipeline"])
GIVEN_UP = Counter("tidemill_scorer_given_up_total", "labels whose answer never came, by pipeline", ["pipeline"])
WAITING = Gauge("tidemill_scorer_waiting", "labels that wait for an answer or a late shadow")


def run(settings: Settings) -> None:
    """Score labels until SIGTERM. Blocks."""
    with Service(settings, "scorer") as service:
        while not service.stopping:
            try:
                Scorer(settings, service).run()
            except Retry as error:
                service.waiting(str(error))
                service.stop_event.wait(error.after_s)


class Scorer:
    """Reads, looks up, writes. One of them per deployment writes at a time: a successor fences the one before."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._store = Store(settings)
        self._waiting = Waiting()
        self._decode = FEEDBACK.decoder()
        self._behind: dict[int, float] = {}
        """Partitions not read to where they ended when they were assigned, and where that was."""
        self._committed: dict[int, int] = {}
        self._commit_at_s = 0.0
        self._healthy_s = 0.0
        """Seconds in which the store answered: a label does not age while the store is away."""
        self._store_down = False
        self._store_retry_s = 0.0
        self._paused = False
        self._unsent: list[tuple[int, Feedback]] = []
        """Scores not yet written, with their label's partition."""

    def run(self) -> None:
        """Until the service stops. Raises Retry when Kafka is not there yet, Stop when fenced by a successor."""
        writer = self._writer()
        reader = consumer(self._settings, "tidemill-scorer", GROUP)
        try:
            partition_count(reader, FEEDBACK.name)
            reader.subscribe([FEEDBACK.name], on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)
            last_s = self._service.clock.monotonic_s()
            while not self._service.stopping:
                self._read(reader)
                now_s = self._service.clock.monotonic_s()
                if not self._store_down:
                    self._healthy_s += now_s - last_s
                last_s = now_s
                self._round(reader, writer, now_s)
        finally:
            reader.close()

    def _writer(self) -> Producer:
        made = producer(
            self._settings,
            "tidemill-scorer",
            transactional_id=f"{self._settings.deployment}-scorer",
            transaction_timeout_ms=15_000,
            message_timeout_ms=15_000,
        )
        try:
            made.init_transactions(30)
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {error}") from error
        return made

    def _assigned(self, reader: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._behind[partition.partition] = self._end(reader, partition)
            self._committed.pop(partition.partition, None)
        reader.incremental_assign(partitions)
        reader.resume(reader.assignment())  # the client keeps the pause of a partition that it gave up and gets back
        self._paused = False

    def _end(self, reader: Consumer, place: TopicPartition) -> float:
        """Where a partition ends; infinity where the broker does not say: then it is told once nothing comes."""
        try:
            return end_of(reader, place)
        except Retry:
            return math.inf

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._waiting.forget(partition.partition)
            self._behind.pop(partition.partition, None)
            self._committed.pop(partition.partition, None)
            self._unsent = [entry for entry in self._unsent if entry[0] != partition.partition]

    def _read(self, reader: Consumer) -> None:
        self._hold_back(reader)
        for message in reader.consume(500, 0.1):
            error = message.error()
            partition = message.partition()
            offset = message.offset()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
                    self._behind.pop(partition, None)
                    self._waiting.read(partition, offset)
                else:
                    log.warning("kafka: %s", error)
                continue
            if partition is not None and offset is not None:
                self._take(message, partition, offset)

    def _take(self, message: Message, partition: int, offset: int) -> None:
        self._waiting.read(partition, offset + 1)
        if offset + 1 >= self._behind.get(partition, math.inf):
            del self._behind[partition]
        try:
            event: Feedback = self._decode(message.value())
        except Quarantine:
            return  # the sink sends it to the dead letters
        if is_score(event):
            self._waiting.remember(event.feedback_id)
        elif is_label(event) and self._metric(event.pipeline) is not None:
            self._waiting.add(partition, offset, event, self._healthy_s, self._service.clock.now_ms())

    def _hold_back(self, reader: Consumer) -> None:
        """Stop fetching while too many labels wait; go on at half of that."""
        if not self._paused and len(self._waiting) >= MAX_WAITING and not self._behind:
            reader.pause(reader.assignment())
            self._paused = True
        elif self._paused and len(self._waiting) < MAX_WAITING // 2:
            reader.resume(reader.assignment())
            self._paused = False

    def _metric(self, pipeline: str) -> str | None:
        """The metric labels of this pipeline are scored by; None: they are not (unknown pipeline, given scores)."""
        found = self._settings.pipelines.get(pipeline)
        return found.quality.metric if found is not None and found.quality.metric in METRIC_VERSIONS else None

    def _dimensions(self, pipeline: str) -> tuple[str, ...]:
        found = self._settings.pipelines.get(pipeline)
        return () if found is None else found.slices

    def _round(self, reader: Consumer, writer: Producer, now_s: float) -> None:
        WAITING.set(len(self._waiting))
        if self._behind:
            self._service.waiting("reading feedback to its end")
            return
        if now_s >= self._store_retry_s:
            try:
                self._look()
                self._store_retry_s = now_s + LOOK_EVERY_S
                self._store_down = False
                self._service.ready()
            except (Retry, StoreError) as error:
                self._store_down = True
                self._store_retry_s = now_s + 1.0
                self._service.waiting(f"label scoring pauses: {error}")
        offsets = self._moved()
        if (self._unsent or (offsets and now_s >= self._commit_at_s)) and self._write(reader, writer, offsets):
            self._commit_at_s = now_s + COMMIT_EVERY_S

    def _look(self) -> None:
        due = self._waiting.due(self._healthy_s, MAX_LOOKUP)
        answers = find(self._store, [label.event for label in due])
        queued = {event.feedback_id for _, event in self._unsent}
        for label in due:
            metric = self._metric(label.event.pipeline)
            here = answers.get(label.event.call_id, [])
            for answer in here if metric is not None else ():
                event = score_of(label.event, answer, metric or "", self._dimensions(label.event.pipeline))
                if event is None or event.feedback_id in self._waiting.said or event.feedback_id in queued:
                    continue
                queued.add(event.feedback_id)
                self._unsent.append((label.partition, event))
            self._waiting.looked(label, here, self._healthy_s)
        self._give_up(self._waiting.overdue(self._healthy_s)[:MAX_LOOKUP])

    def _give_up(self, overdue: list[Label]) -> None:
        here = landed(self._store, [label.event for label in overdue])
        for label in overdue:
            if label.event.feedback_id in here:
                self._waiting.give_up(label)
                GIVEN_UP.labels(label.event.pipeline).inc()
                log.warning("no answer of call %s for its label %s", label.event.call_id, label.event.feedback_id)

    def _moved(self) -> dict[int, int]:
        return {p: o for p, o in self._waiting.offsets().items() if self._committed.get(p) != o}

    def _write(self, reader: Consumer, writer: Producer, offsets: dict[int, int]) -> bool:
        """Scores and offsets in one transaction; False: nothing was written, the next round tries again."""
        scores = self._unsent
        try:
            writer.begin_transaction()
            for partition, event in scores:
                writer.produce(FEEDBACK.name, encode(event), event.call_id.encode(), partition=partition)
            moved = [TopicPartition(FEEDBACK.name, p, o) for p, o in offsets.items()]
            send_offsets(writer, moved, reader.consumer_group_metadata())
            _commit(writer)
        except (KafkaException, BufferError) as error:
            self._undo(writer, error)
            return False
        self._unsent = []
        self._committed.update(offsets)
        for _, event in scores:
            self._waiting.remember(event.feedback_id)
            SCORES.labels(event.pipeline).inc()
        return True

    def _undo(self, writer: Producer, error: Exception) -> None:
        cause = error.args[0] if error.args else None
        if isinstance(cause, KafkaError) and cause.fatal():
            raise Stop(f"another scorer of deployment {self._settings.deployment!r} took over: {cause}") from error
        log.warning("scores wait: %s", error)
        self._service.waiting(f"Kafka refuses scores: {error}")
        try:
            writer.abort_transaction(10)
        except KafkaException as again:
            raise Retry(f"Kafka refuses scores: {again}") from again


def _commit(writer: Producer) -> None:
    """Commit; what can be tried again is (the outcome is unknown until it is)."""
    for attempt in range(5):
        try:
            writer.commit_transaction(10)
            return
        except KafkaException as error:
            if not error.args[0].retriable() or attempt == 4:
                raise
    raise TidemillError("unreachable")
