"""Asks the engine, at low priority, and takes down how long an answer took and how many tokens it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from tidemill.errors import Retry
from tidemill.settings import PipelineSettings
from tidemill.settings.model import EngineSettings

LOW_PRIORITY = 100
"""Above the clients' 0: the engine answers everybody else first."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class EngineRefused(Exception):
    """The engine said no; the message holds its words."""


class Answered(NamedTuple):
    """One answer. Tokens are 0 where the engine does not count them."""

    text: str
    seconds: float
    input_tokens: int = 0
    output_tokens: int = 0


class Asker:
    """Asks one pipeline's questions. Raises Retry while the engine is away, EngineRefused where it says no."""

    def __init__(self, http: httpx.Client, pipeline: PipelineSettings) -> None:
        self._http, self._pipeline = http, pipeline
        self._extra: dict[str, Any] = {"priority": LOW_PRIORITY}

    def ask(self, model: str, prompt: str) -> Answered:
        """The greedy answer of a model to a prompt, with the pipeline's system prompt."""
        pipeline = self._pipeline
        system = [{"role": "system", "content": pipeline.system_prompt}] if pipeline.system_prompt else []
        body = {
            "model": model,
            "messages": [*system, {"role": "user", "content": prompt}],
            "max_tokens": pipeline.max_tokens,
            "temperature": 0.0,
        }
        began = time.perf_counter()
        try:
            answer = post(self._http, "/chat/completions", body | self._extra)
        except EngineRefused as error:
            if not self._extra or "priority" not in str(error):
                raise
            self._extra = {}  # this engine schedules first come, first served
            return self.ask(model, prompt)
        took = time.perf_counter() - began
        usage = answer.get("usage") or {}
        text = answer["choices"][0]["message"].get("content") or ""
        return Answered(text, took, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0)


class Smoke:
    """Gathers, prompt by prompt, the candidate's time and cost over the champion's."""

    def __init__(self, engine: EngineSettings) -> None:
        self._engine = engine
        self.ratios: dict[str, list[float]] = {"latency": [], "cost": []}

    def note(self, candidate: Answered, champion: Answered) -> None:
        """Both answered the same prompt. Time is per token where both have some; cost, unpriced, is output tokens."""
        counted = candidate.output_tokens > 0 and champion.output_tokens > 0
        times = [each.seconds / each.output_tokens if counted else each.seconds for each in (candidate, champion)]
        if times[1] > 0:
            self.ratios["latency"].append(times[0] / times[1])
        costs = [self._cost(each) for each in (candidate, champion)]
        if counted and costs[1] > 0:
            self.ratios["cost"].append(costs[0] / costs[1])

    def _cost(self, answered: Answered) -> float:
        ours, theirs = self._engine.input_usd_per_million, self._engine.output_usd_per_million
        if ours is None or theirs is None:
            return float(answered.output_tokens)
        return answered.input_tokens * ours + answered.output_tokens * theirs


def post(http: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    """The engine's answer. Raises Retry or EngineRefused."""
    try:
        answer = http.post(path.lstrip("/"), json=dict(body))
    except httpx.HTTPError as error:
        raise Retry(f"the engine does not answer: {error}") from error
    loading = path == "/load_lora_adapter"  # an engine that breaks on loading would break again
    if answer.status_code in _BUSY and not (loading and answer.status_code == 500):
        raise Retry(f"the engine answered {answer.status_code}")
    if answer.status_code != 200:
        raise EngineRefused(f"the engine answered {answer.status_code}: {answer.text[:300]}")
    return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
