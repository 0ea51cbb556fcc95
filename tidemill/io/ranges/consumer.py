"""The range consumer: Kafka in, frozen ranges out; intents are committed before the effect, offsets past it after."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidemill.errors import Retry, Stop
from tidemill.io import kafka, topic_admin
from tidemill.io.ranges.assignment import place
from tidemill.io.ranges.cuts import at, identity, leader_epoch
from tidemill.io.ranges.ends import Ends
from tidemill.io.ranges.pace import arrived_until, horizon_ms, lane
from tidemill.io.ranges.partition import MAX_BYTES, Limits, PartitionState, crowded
from tidemill.io.ranges.range import Intent, Position, Range
from tidemill.io.ranges.throttle import throttle
from tidemill.settings import Settings

log = logging.getLogger(__name__)
CONSUME = 4_000
CONSUME_S = 0.05
IDLE_COMMIT_S = 0.3
MAX_FETCH_BYTES = 524_288
SESSION_S = 8.0
"""Older acknowledgments of an intent are renewed before the effect: below the broker's session time-out (10 s in the
embedded broker, 45 s by Kafka's default), so that a member the group gave up on learns it there."""
CHECK_S = 1.0

State = PartitionState[Message]


class RangeConsumer:
    """Consumes ``topics`` as a member of ``group`` and hands out frozen ranges. For one thread.

    1. ``poll()`` gives ranges whose intent is committed.
    2. For each: ``while consumer.holds(range)``: do the effect; on trouble ``hold(seconds)`` and try again.
    3. ``done(range)``: the next commit moves the offset past it.
    A range that is no longer held belongs to someone else, who replays the very same lo..hi: drop it.
    """

    def __init__(
        self,
        settings: Settings,
        client: str,
        group: str,
        topics: Sequence[str],
        max_messages: int,
        max_wait_s: float,
        *,
        max_bytes: int = MAX_BYTES,
        max_fetch_bytes: int = MAX_FETCH_BYTES,
        epoch: int = 0,
        ahead_ms: int | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``ahead_ms``: how far one partition may run ahead of the slowest, by arrival; None: as far as it goes.

        ``max_fetch_bytes``: as in ``kafka.fetching``.
        """
        self._settings = settings
        self._client, self._group, self._topics = client, group, list(topics)
        self._limits = Limits(max_messages, max_wait_s, max_bytes)
        self._fetching = kafka.fetching(max_fetch_bytes)
        self._epoch = epoch
        self._ahead_ms = ahead_ms
        self._ends = Ends(settings, client)
        self._stopping = stopping
        self._consumer: Consumer | None = None
        self._cluster = ""
        self._states: dict[tuple[str, int], State] = {}
        self._open: dict[Range, State] = {}
        self._trouble: str | None = None
        self._checked_s = 0.0
        self._broken: BaseException | None = None
        self._cut = False
        """A log lost its tail while we read it: nothing that comes is taken, partitions are taken over anew."""
        self._busy = False
        """Whether the last poll gave ranges: then more may be here already, and nothing is waited for."""

    def poll(self) -> list[Range]:
        """Ranges ready for their effect; empty after about 0.05 s when there are none.

        Raises Retry while the broker or the topics are away (call again after a while), Stop when the client cannot
        go on.
        """
        if self._consumer is None:
            self._consumer = self._connect()
        self._take_in(CONSUME, 0.0 if self._busy else CONSUME_S, holding=False)
        if self._cut:
            self._take_over_anew()
        now = time.monotonic()
        horizon, many = self._horizon(now), crowded(self._states.values(), self._limits)
        for state in self._states.values():
            most = arrived_until(state.waiting, horizon)
            if state.ready(self._limits, now, most, crowded=many):
                state.leader_epoch = leader_epoch(state.freeze(self._limits, most))
        ranges = self._commit(now)
        self._busy = bool(ranges)
        if not ranges and self._trouble is not None and not self._recovered():
            raise Retry(self._trouble, after_s=0.2)
        return ranges

    def holds(self, span: Range) -> bool:
        """Whether the range's effect is still ours to produce; renews an old acknowledgment. Raises Retry."""
        state = self._open.get(span)
        if state is None or self._states.get(state.place) is not state:
            self._open.pop(span, None)
            return False
        now = time.monotonic()
        if now - state.acknowledged_s > SESSION_S:
            if not self._commit_offsets([(state, state.note())]):
                raise Retry(self._trouble or "the intent could not be renewed", after_s=0.5)
            state.acknowledged_s = now
        return True

    def hold(self, seconds: float) -> None:
        """Stay a member for ``seconds`` without taking in more than arrives by itself. Blocks."""
        end = time.monotonic() + seconds
        while not self._stopping() and (left := end - time.monotonic()) > 0:
            self._take_in(100, min(left, CONSUME_S), holding=True)

    def done(self, span: Range) -> None:
        """The range's effect has happened. Without effect when the range is no longer held."""
        state = self._open.pop(span, None)
        if state is not None and self._states.get(state.place) is state:
            state.finish(time.monotonic())

    def positions(self) -> list[Position]:
        """How far each assigned partition is; partitions whose end the broker has not said yet are left out.

        After the broker was away, every end is at least one message further for a while: more is to come.
        """
        self._ends.ask(self._states)
        ends, age_s = self._ends.known(), self._ends.age_s()
        more = int(self._ends.settling())
        found = [(at, state, max(ends[at], state.seen)) for at, state in self._states.items() if at in ends]
        return sorted(Position(*at, state.pos, max(end, state.pos + more), age_s) for at, state, end in found)

    def oldest_open_s(self) -> float:
        """Age of the oldest range handed out and not done, in seconds; 0.0 when there is none."""
        now = time.monotonic()
        return max((now - state.opened_s for state in list(self._open.values())), default=0.0)

    def close(self) -> None:
        """Leave the group. Open ranges stay noted and are replayed by the next owner."""
        if self._consumer is not None:
            self._consumer.close()
        self._ends.close()
        self._states.clear()

    def _take_over_anew(self) -> None:
        """Leave the group and come back. Raises Retry. What is open is noted, and decided on at the takeover."""
        assert self._consumer is not None
        self._consumer.close()
        self._states.clear()
        self._consumer, self._cut = None, False
        raise Retry("a log lost its tail: taking its partitions over anew", after_s=0.2)

    def _connect(self) -> Consumer:
        self._cluster = kafka.cluster_id(self._settings)
        topic_admin.topic_ids(self._settings, self._topics)
        made = kafka.consumer(self._settings, self._client, self._group, error_cb=self._on_error, **self._fetching)
        made.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        return made

    def _take_in(self, count: int, timeout_s: float, *, holding: bool) -> None:
        if self._consumer is None:
            return time.sleep(timeout_s)
        throttle(self._consumer, self._states.values(), self._limits, holding=holding)
        try:
            messages = self._consumer.consume(count, timeout_s)
        except KafkaException as error:
            self._note(error.args[0])
            messages = []
        if self._broken is not None:
            raise Stop(f"taking over partitions failed: {self._broken}; restart the role") from self._broken
        now = time.monotonic()
        for message in messages if not self._cut else ():
            state = self._states.get((message.topic(), message.partition()))
            trouble = message.error()
            if trouble is None:
                if state is not None and message.offset() < state.seen and state.another(*identity(message)):
                    log.error("%s/%d was cut off at or below %d", state.topic, state.partition, message.offset())
                    self._cut = True
                if self._cut:
                    return
                if state is not None:
                    state.add(message.offset(), len(message), message, now)
                    self._trouble = None
            elif trouble.code() == KafkaError._PARTITION_EOF:
                if state is not None:
                    state.reached_end(message.offset(), now)
            else:
                self._note(trouble)

    def _horizon(self, now: float) -> int | None:
        if self._ahead_ms is None:
            return None
        self._ends.ask(self._states)
        ends = self._ends.known()
        return horizon_ms([lane(s, ends.get(at), now) for at, s in self._states.items()], self._ahead_ms)

    def _commit(self, now: float) -> list[Range]:
        wanted: list[tuple[State, Intent]] = []
        for state in self._states.values():
            frozen = state.hi is not None and not state.open and state.complete
            if frozen or state.wants_idle_commit(now, IDLE_COMMIT_S):
                wanted.append((state, state.note()))
        ranges = []
        for state, intent in self._commit_offsets(wanted):
            if intent.h is None:
                state.committed = state.pos
                continue
            messages = state.take(time.monotonic())
            which = (state.topic, state.topic_id, state.range_epoch, state.partition)
            span = Range(self._cluster, *which, state.pos, intent.h, messages, state.replayed, state.again)
            self._open[span] = state
            ranges.append(span)
        return ranges

    def _commit_offsets(self, wanted: list[tuple[State, Intent]]) -> list[tuple[State, Intent]]:
        """Commit and give back what was acknowledged. A refusal is noted and nothing is decided on it."""
        if not wanted:
            return []
        assert self._consumer is not None
        offsets = [TopicPartition(s.topic, s.partition, s.pos, intent.encode()) for s, intent in wanted]
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._note(error.args[0])
            return []
        refused = {(a.topic, a.partition): a.error for a in answers if a.error is not None}
        for refusal in refused.values():
            self._note(refusal)
        return [(s, i) for s, i in wanted if s.place not in refused and self._states.get(s.place) is s]

    def _recovered(self) -> bool:
        assert self._consumer is not None
        now = time.monotonic()
        if now - self._checked_s < CHECK_S:
            return False
        self._checked_s = now
        try:
            self._consumer.list_topics(self._topics[0], timeout=1.0)
        except KafkaException:
            return False
        self._trouble = None
        return True

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._FATAL:
            raise Stop(f"the Kafka client cannot go on: {error}; restart the role")
        if self._trouble is None:
            log.warning("Kafka: %s", error)
        self._trouble = f"Kafka: {error}"

    def _on_error(self, error: KafkaError) -> None:
        # Raising inside a callback would kill the process from C.
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._AUTHENTICATION):
            if self._trouble is None:
                log.warning("Kafka: %s", error)
            self._trouble = f"Kafka: {error}"

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            states = place(self._settings, self._client, consumer, partitions, self._epoch, self._stopping)
            if states is None:
                return
            consumer.incremental_assign([at(s.topic, s.partition, s.pos, s.leader_epoch) for s in states])
            consumer.resume(partitions)  # the client keeps the pause of a partition that it gave up and gets back
            self._states.update({s.place: s for s in states})
            log.info("assigned %s", ", ".join(f"{s.topic}/{s.partition}@{s.pos}" for s in states) or "nothing")
        except BaseException as error:
            self._broken = error

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            dropped = self._drop(partitions)
            idle = [s for s in dropped if s.hi is None and s.committed != s.pos]
            offsets = [TopicPartition(s.topic, s.partition, s.pos, s.note().encode()) for s in idle]
            if offsets:
                consumer.commit(offsets=offsets, asynchronous=False)
        except BaseException as error:
            log.info("courtesy commit at revoke: %s", error)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._drop(partitions)
        except BaseException as error:
            self._broken = error

    def _drop(self, partitions: list[TopicPartition]) -> list[State]:
        found = [self._states.pop((tp.topic, tp.partition), None) for tp in partitions]
        log.info("gave up %s", ", ".join(f"{tp.topic}/{tp.partition}" for tp in partitions))
        return [state for state in found if state is not None]
