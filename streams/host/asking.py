"""Asks an engine its probes, one prompt at a time, and keeps what is known of the answers over a restart.

<data_dir>/host/probe-<engine>.json    fingerprints, the detector's state: no text
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from streams.host import probe
from streams.host.exchange import Exchange
from streams.host.probe import Fingerprint, ProbeState, Round
from tidemill.clock import Clock
from tidemill.codec import encode
from tidemill.errors import Retry, Stop
from tidemill.io.modes import write_private
from tidemill.settings import Settings, keys

log = logging.getLogger(__name__)
TIMEOUT_S = 15.0


def engine_key(settings: Settings, engine: str, environ: Mapping[str, str] = os.environ) -> str:
    """The upstream's key; empty when none is named. Raises Stop where one is named and not set, or cannot be sent."""
    name = settings.engines[engine].api_key_env
    key = keys.engine_key(settings.engines[engine], engine, environ)
    if name and not key:
        raise Stop(
            f"engines.{engine}.api_key_env names {name}, which is not set for the role host; "
            "export the upstream's key in it, or leave the engine out of host.engines"
        )
    return key


class Asking:
    """The probes of one engine. ``tick`` again and again: it asks at most one prompt (blocks for TIMEOUT_S at most)."""

    def __init__(self, settings: Settings, engine: str, clock: Clock) -> None:
        self.engine = engine
        self._settings = settings.engines[engine].probe
        self._model = settings.engines[engine].base_model
        self._prompts = self._settings.prompts or probe.PROMPTS
        self._file = settings.data_dir / "host" / f"probe-{engine}.json"
        self._clock = clock
        self._due_s = clock.monotonic_s()
        self._answers: list[Fingerprint] = []
        self._identities: set[str] = set()
        self._url = settings.engine_url(engine)
        self._http = Exchange(engine_key(settings, engine), TIMEOUT_S)
        self.state = _read(self._file, probe.asked(self._settings, self._model))

    def tick(self) -> bool:
        """Ask the next prompt of a round, if one is due; whether the round is complete and ``state`` is new.

        A prompt that gets no answer gives up the round: nothing is known then. The next one comes in time.
        """
        if self._clock.monotonic_s() < self._due_s:
            return False
        try:
            said, identity = probe.fingerprint(self._ask(self._prompts[len(self._answers)]))
        except (Retry, ValueError) as error:
            log.warning("probe of %s: no round: %s", self.engine, error)
            self._again()
            return False
        self._answers.append(said)
        self._identities.add(identity)
        if len(self._answers) < len(self._prompts):
            return False
        seen = Round(self._clock.now_ms(), tuple(self._answers), frozenset(self._identities))
        learned = bool(self.state.reference)
        self.state = probe.take(self.state, seen, self._settings)
        if self.state.reference and not learned:
            self._tell()
        self._again()
        return True

    def keep(self) -> None:
        """Write the state down: after what it says has been said."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_private(self._file, encode(self.state).decode())

    def _ask(self, prompt: str) -> Mapping[str, object]:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self._settings.max_tokens,
            "temperature": 0,
        }
        return self._http.post(self._url + "/chat/completions", body).object()

    def _again(self) -> None:
        self._answers, self._identities = [], set()
        self._due_s = self._clock.monotonic_s() + self._settings.every_s

    def _tell(self) -> None:
        usual, bound = self.state.usual, self.state.bound
        log.info("probe of %s: learned; usual agreement %.3f, bound %.3f", self.engine, usual, bound)
        if bound < probe.LEAST_BOUND:
            log.warning("probe of %s: its answers vary so much that a change would not show; shorten them", self.engine)


def _read(file: Path, asked: str) -> ProbeState:
    """What was known, if the same was asked; else nothing."""
    try:
        state = msgspec.json.decode(file.read_bytes(), type=ProbeState)
    except (OSError, msgspec.MsgspecError):
        return ProbeState(asked)
    return state if state.asked == asked else ProbeState(asked)
