"""The frame of one piece of a job's work: a process of its own that reads a spec, says how far it is, leaves a result.

    python -m retrain.<work> --spec SPEC.json

The result file appears whole and last, so its being there means the work is done, whoever looks and whenever. A
refusal is a result too (``refused``: the reason); anything else that ends the process without a result is a crash and
may be tried again. stdout carries JSON progress lines; logs go to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from retrain.whole import write_json
from tidemill.errors import Retry, Stop, TidemillError
from tidemill.io.modes import write_private
from tidemill.io.service import configure_logs
from tidemill.settings import Settings

log = logging.getLogger(__name__)
S = TypeVar("S")
SETTINGS_FILE = "settings.json"
MAX_PAUSE_S = 15.0
_NOT_NEEDED: Any = {"kafka": {"options"}, "alerts": {"webhooks"}}
"""No work talks to Kafka or to a receiver of alerts; passwords and secret addresses may stand there."""


class Refused(TidemillError):
    """The work cannot be done with this input; the message says why and what would help. Not tried again."""


def run_work(name: str, spec_type: type[S], do: Callable[[S], dict[str, Any]], wait: Callable[[float], None]) -> None:
    """Entry point of a work process: read the spec, do it, write the result beside it.

    Retry (store, engine or registry away) is tried again for ever and said on stdout; ``wait`` pauses for seconds.
    """
    parser = argparse.ArgumentParser(prog=f"python -m retrain.{name}")
    parser.add_argument("--spec", type=Path, required=True)
    file: Path = parser.parse_args().spec
    configure_logs(f"retrain-{name}", "info")
    spec = msgspec.json.decode(file.read_bytes(), type=spec_type)
    write_json(file.with_name("result.json"), attempt(spec, do, wait))


def attempt(spec: S, do: Callable[[S], dict[str, Any]], wait: Callable[[float], None]) -> dict[str, Any]:
    """The result of ``do``, or ``{"refused": reason}``; waits and repeats while it raises Retry."""
    pause = 1.0
    while True:
        try:
            return do(spec)
        except Retry as error:
            say(waiting=str(error)[:300])
            log.warning("waiting: %s", error)
            wait(max(pause, error.after_s))
            pause = min(pause * 2, MAX_PAUSE_S)
        except (Refused, Stop) as error:
            return {"refused": str(error)}


def say(**fact: Any) -> None:
    """One JSON progress line on stdout."""
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def save_settings(settings: Settings, folder: Path) -> Path:
    """Freeze the settings a job works by, for its owner's eyes, without what no work needs and may be secret."""
    file = folder / SETTINGS_FILE
    write_private(file, settings.model_dump_json(indent=1, exclude=_NOT_NEEDED))
    return file


def load_settings(file: str) -> Settings:
    """The settings frozen by ``save_settings``."""
    return Settings.model_validate_json(Path(file).read_text(encoding="utf-8"))
