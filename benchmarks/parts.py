"""Independent parts of a benchmark, each in a process of its own, as many at a time as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")


def measured(parts: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """What each part gives back, by name. Parts start in their order: the longest first, and no core waits in the end.

    Functions and results must be picklable. Says on stderr what begins and what is done.
    """
    begun = time.monotonic()
    found: dict[str, T] = {}
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = {pool.submit(_said, name, part): name for name, part in parts.items()}
        for future in as_completed(futures):
            name, (result, took_s) = futures[future], future.result()
            found[name] = result
            passed_min = (time.monotonic() - begun) / 60
            _say(f"done in {took_s:.0f} s: {name} ({len(found)} of {len(parts)}, {passed_min:.1f} min so far)")
    return {name: found[name] for name in parts}


def _said(name: str, part: Callable[[], T]) -> tuple[T, float]:
    _say(f"begins: {name}")
    begun = time.monotonic()
    return part(), time.monotonic() - begun


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
