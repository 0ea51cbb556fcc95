"""Fetches a data set's calls out of the store, and remembers which queries it asked, so that a manifest can say so."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

import msgspec

from retrain.datasets.rows import AskedCall, JudgedCall, LabelledCall
from tidemill import sql
from tidemill.events import Message
from tidemill.io.clickhouse import Store

EXTENTS = {
    "labelled_calls": "labelled_extent",
    "thumbed_calls": "thumbed_extent",
    "answers_of_labelled": "answered_extent",
    "asked_calls": "asked_extent",
}
"""By query, the one that says where in its topic the messages stand that it is about."""
_END_MS = 4_102_444_800_000
_messages = msgspec.json.Decoder(tuple[Message, ...])
C = TypeVar("C", AskedCall, JudgedCall, LabelledCall)


class Fetcher:
    """Asks for the calls of one pipeline that were made in [since, until), with what was told of them before
    ``told_until_ms``: whenever it is asked, it knows nothing later. Blocks for seconds. Raises Retry.

    ``queries`` has the text of each that was asked, by name; ``several_turns`` how many calls of each were left out,
    as they are conversations of several turns.
    """

    def __init__(self, store: Store, pipeline: str, told_until_ms: int) -> None:
        self._store = store
        self._pipeline, self._told_until_ms = pipeline, min(told_until_ms, _END_MS)
        self.queries: dict[str, str] = {}
        self.several_turns: Counter[str] = Counter()
        self._spans: dict[str, tuple[int, int]] = {}

    def labelled(self, since: int, until: int, most: int) -> list[LabelledCall]:
        """The newest calls with a label or correction."""
        return self._calls("labelled_calls", since, until, most, LabelledCall)

    def judged(self, since: int, until: int, most: int) -> list[JudgedCall]:
        """The newest calls with a thumb."""
        return self._calls("thumbed_calls", since, until, most, JudgedCall)

    def asked(self, since: int, until: int, most: int) -> list[AskedCall]:
        """The newest calls, whatever was told of them."""
        return self._calls("asked_calls", since, until, most, AskedCall)

    def answers(self, since: int, until: int) -> dict[str, str]:
        """What clients were answered in calls with a label or correction, by call id."""
        return {row["call_id"]: row["answer"] for row in self._rows("answers_of_labelled", since, until)}

    def offsets(self) -> list[dict[str, Any]]:
        """By ``query``, topic and partition: the first and the last offset of what the queries so far are about, and
        how many messages it is.
        """
        return [
            {"query": name} | row
            for name, (since, until) in self._spans.items()
            for row in self._store.rows(sql.query(EXTENTS[name]), self._parameters(since, until))
        ]

    def _calls(self, name: str, since: int, until: int, most: int, kind: type[C]) -> list[C]:
        found = []
        for row in self._rows(name, since, until, most=most):
            prompt = question(row.pop("messages"))
            if prompt is None:
                self.several_turns[name] += 1
            else:
                found.append(msgspec.convert(row | {"prompt": prompt}, kind, strict=False))
        return found

    def _rows(self, name: str, since: int, until: int, **more: int) -> list[dict[str, Any]]:
        self.queries[name] = sql.query(name)
        first, last = self._spans.get(name, (since, until))
        self._spans[name] = (min(first, since), max(last, until))
        return self._store.rows(self.queries[name], self._parameters(since, until) | more)

    def _parameters(self, since: int, until: int) -> dict[str, Any]:
        ends = {"until": min(until, _END_MS), "told_until": self._told_until_ms}
        return {"pipeline": self._pipeline, "since": since} | ends


def question(messages: str) -> str | None:
    """What the user asked, without the system prompt; None for a conversation of several turns."""
    turns = [message for message in _messages.decode(messages) if message.role != "system"]
    return turns[0].content if len(turns) == 1 and turns[0].role == "user" else None
