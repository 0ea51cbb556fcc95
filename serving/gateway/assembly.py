"""Puts the chunks of a streamed answer together again (pure)."""

from __future__ import annotations

from typing import Any


class Assembly:
    """Feed it each chunk; it knows the whole answer at the end."""

    def __init__(self) -> None:
        self.created = 0
        self.response_model = ""
        self.usage: dict[str, Any] | None = None
        self._choices: dict[int, dict[str, Any]] = {}
        self._logprobs: list[float] = []

    def add(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk in; whether it brought something of the answer (text, a tool call)."""
        self.created = chunk.get("created") or self.created
        self.response_model = chunk.get("model") or self.response_model
        self.usage = chunk.get("usage") or self.usage
        brought = False
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            choice = self._choices.setdefault(
                index, {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
            )
            brought |= _merge(choice["message"], part.get("delta") or {})
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            if part.get("logprobs"):
                self._add_logprobs(choice, part["logprobs"])
        return brought

    def _add_logprobs(self, choice: dict[str, Any], given: dict[str, Any]) -> None:
        content = given.get("content") or []
        choice.setdefault("logprobs", {"content": [], "refusal": None})["content"].extend(content)
        if choice["index"] == 0:
            given_logprobs = (token.get("logprob") for token in content if isinstance(token, dict))
            self._logprobs += [value for value in given_logprobs if isinstance(value, int | float)]

    def finished(self, choices: int) -> bool:
        """Whether that many choices have said why they ended."""
        return sum(choice["finish_reason"] is not None for choice in self._choices.values()) >= choices

    @property
    def choices(self) -> list[dict[str, Any]]:
        """As in a plain answer."""
        return [self._choices[index] for index in sorted(self._choices)]

    @property
    def text(self) -> str:
        """What the first choice says."""
        return self.choices[0]["message"]["content"] or "" if self._choices else ""

    @property
    def refusal(self) -> str:
        """What the first choice says where the engine itself marks it as a refusal."""
        return str(self.choices[0]["message"].get("refusal") or "") if self._choices else ""

    @property
    def calls_tools(self) -> bool:
        """Whether the first choice calls tools; engines do not always say so in the finish reason."""
        return bool(self._choices) and bool(self.choices[0]["message"].get("tool_calls"))

    @property
    def finish_reason(self) -> str:
        """Why the first choice ended."""
        return str(self.choices[0]["finish_reason"] or "") if self._choices else ""

    @property
    def mean_logprob(self) -> float | None:
        """Over the first choice's tokens; None where none were given."""
        return sum(self._logprobs) / len(self._logprobs) if self._logprobs else None

    @property
    def input_tokens(self) -> int | None:
        return _count(self.usage, "prompt_tokens")

    @property
    def output_tokens(self) -> int | None:
        return _count(self.usage, "completion_tokens")

    @property
    def cached_tokens(self) -> int | None:
        return _count((self.usage or {}).get("prompt_tokens_details"), "cached_tokens")


def _count(usage: dict[str, Any] | None, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> bool:
    brought = False
    for name, value in delta.items():
        if name == "role":
            message["role"] = value or message["role"]
        elif name == "tool_calls" and value:
            brought = True
            calls = message.setdefault("tool_calls", [])
            for call in value:
                _merge_tool_call(calls, call)
        elif isinstance(value, str) and value:
            brought = True
            message[name] = (message.get(name) or "") + value
    return brought


def _merge_tool_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call, function = calls[index], part.get("function") or {}
    call["id"] = part.get("id") or call["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
