"""The gateway killed under load: every answered call has its request and its response on Kafka, exactly once."""

from __future__ import annotations

import threading
import time
from collections import Counter

import httpx

from tests.integration.gateway_process import Stage, stage  # noqa: F401
from tests.waiting import until
from tidemill.ids import CompletionIds
from tidemill.io.secrets import routing_key
from tidemill.topics import REQUESTS, RESPONSES

CLIENTS = 6


class Load:
    """Clients that call without pause; ``answered`` holds the call ids of whole answers."""

    def __init__(self, stage: Stage) -> None:  # noqa: F811
        self._stage = stage
        self._ids = CompletionIds(routing_key(stage.settings))
        self._stop = threading.Event()
        self.answered: list[str] = []
        self._threads = [threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _call(self, number: int) -> None:
        body = {
            "model": "talk",
            "messages": [{"role": "user", "content": f"hello {number}"}],
            "stream": number % 2 == 0,
        }
        with self._stage.http() as http:
            while not self._stop.is_set():
                try:
                    answer = http.post("/v1/chat/completions", json=body, timeout=5)
                except httpx.HTTPError:
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200 and (not body["stream"] or answer.text.endswith("data: [DONE]\n\n")):
                    start = answer.text.index("chatcmpl-")
                    self.answered.append(self._ids.read(answer.text[start : answer.text.index('"', start)]).call_id)

    def until_more(self, count: int) -> None:
        have = len(self.answered)
        until(lambda: len(self.answered) >= have + count, within_s=60, what=f"{count} more answers")

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


def test_every_answered_call_has_its_events_exactly_once_over_kills(stage: Stage) -> None:  # noqa: F811
    role = stage.gateway()
    load = Load(stage)
    for _ in range(2):
        load.until_more(150)
        role.kill()
        role.start().ready(within_s=90)
    load.until_more(100)
    load.end()
    assert role.stop() == 0  # drains the rest
    answers = Counter(row.answer_id for row in stage.events(RESPONSES))
    requests = Counter(row.call_id for row in stage.events(REQUESTS))
    assert len(load.answered) == len(set(load.answered)) >= 400
    assert [call for call in load.answered if answers[call] != 1] == []
    assert [call for call in load.answered if requests[call] != 1] == []
    assert max(answers.values()) == max(requests.values()) == 1
    assert set(answers) <= set(requests)
    spool = stage.settings.data_dir / "gateway" / "spool"
    assert sum(file.stat().st_size for file in sorted(spool.glob("*.seg"))[:-1]) == 0
