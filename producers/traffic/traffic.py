"""Seeded users: calls as a Poisson process, sticky sessions, feedback from the generator's truth.

Each pipeline draws from a random generator of its own, so that what its users say depends on the seed and on the
order of its calls alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

import aiohttp

from producers.traffic.calls import Answer, ask, tell
from producers.traffic.habits import Habits, opinions
from tidemill.clock import Clock
from tidemill.ids import derived_id

CALLS_PER_SESSION = 5
MAX_OUTSTANDING = 200
"""Calls waiting for an answer beyond this hold the next ones back, as a real user pool would."""
ENOUGH_FAILURES = 1_000
"""Failures kept one by one; beyond, only counted."""


@dataclass
class Tally:
    """What the users saw."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """By reason."""
    failures: list[tuple[int, str]] = field(default_factory=list)
    """(time, reason) of failed calls."""
    answered_ids: list[str] = field(default_factory=list)
    feedback_given: int = 0
    feedback_refused: int = 0
    right: Counter[str] = field(default_factory=Counter)


class Traffic:
    """Users of several pipelines. ``run`` until cancelled; ``change`` takes effect with the next call."""

    def __init__(self, url: str, key: str, habits: list[Habits], *, audit_key: str, seed: int, clock: Clock) -> None:
        """``key`` is the users', ``audit_key`` the trusted reviewers'."""
        self._url = url
        self._key, self._audit_key = key, audit_key
        self._habits = {each.pipeline: each for each in habits}
        self._seed = seed
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._outstanding = asyncio.Semaphore(MAX_OUTSTANDING)
        self.tally = Tally()

    def habits(self, pipeline: str) -> Habits:
        """How the pipeline's users behave now."""
        return self._habits[pipeline]

    def change(self, pipeline: str, **changes: object) -> None:
        """Change the users' habits."""
        self._habits[pipeline] = replace(self._habits[pipeline], **changes)  # type: ignore[arg-type]

    async def run(self) -> None:
        """Make calls until cancelled; then wait for what is under way, at most a few seconds."""
        headers = {"Authorization": f"Bearer {self._key}"}
        timeout = aiohttp.ClientTimeout(total=60)
        connector = aiohttp.TCPConnector(limit=MAX_OUTSTANDING)
        async with aiohttp.ClientSession(self._url, headers=headers, timeout=timeout, connector=connector) as client:
            try:
                await asyncio.gather(*(self._users(client, name) for name in self._habits))
            finally:
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=10)

    async def _users(self, client: aiohttp.ClientSession, pipeline: str) -> None:
        rng = Random(f"traffic:{self._seed}:{pipeline}")
        due_s = self._clock.monotonic_s()
        calls = 0
        while True:
            habits = self._habits[pipeline]
            if habits.rate <= 0:
                await asyncio.sleep(0.2)
                due_s = self._clock.monotonic_s()
                continue
            due_s += rng.expovariate(habits.rate)
            await asyncio.sleep(max(0.0, due_s - self._clock.monotonic_s()))
            await self._outstanding.acquire()
            calls += 1
            session = self._session(habits, calls, rng)
            task = asyncio.create_task(self._call(client, habits, session, Random(rng.getrandbits(64))))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _session(self, habits: Habits, calls: int, rng: Random) -> str:
        """One of the live sessions; the whole pool has been replaced after sessions × CALLS_PER_SESSION calls."""
        slot = rng.randrange(habits.sessions)
        generation = (calls + slot * CALLS_PER_SESSION) // (habits.sessions * CALLS_PER_SESSION)
        return derived_id(self._seed, habits.pipeline, slot, generation)

    async def _call(self, client: aiohttp.ClientSession, habits: Habits, session: str, rng: Random) -> None:
        pipeline = habits.pipeline
        said = habits.say(rng)
        self.tally.sent[pipeline] += 1
        try:
            answer = await ask(client, pipeline, session, said.text, stream=rng.random() < habits.stream_share)
        finally:
            self._outstanding.release()
        self._note(pipeline, said.truth, answer)
        if answer.failure:
            return
        for opinion in opinions(habits, said, answer.text, rng):
            await asyncio.sleep(rng.uniform(*habits.feedback_delay_s))
            if await tell(client, answer, opinion, audit_key=self._audit_key):
                self.tally.feedback_given += 1
            else:
                self.tally.feedback_refused += 1

    def _note(self, pipeline: str, truth: str, answer: Answer) -> None:
        if answer.failure:
            self.tally.failed[answer.failure] += 1
            if len(self.tally.failures) < ENOUGH_FAILURES:
                self.tally.failures.append((self._clock.now_ms(), answer.failure))
            return
        self.tally.answered[pipeline] += 1
        self.tally.answered_ids.append(answer.call_id)
        self.tally.right[pipeline] += answer.text.strip() == truth.strip()
