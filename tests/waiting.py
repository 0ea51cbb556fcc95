"""Waiting on a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T | Literal[False] | None], *, within_s: float = 30.0, every_s: float = 0.05, what: str = ""
) -> T:
    """The first truthy answer of ``condition``. Fails with ``what`` when none came within ``within_s`` seconds."""
    end = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s:g} s: {what or condition}")
        time.sleep(every_s)
