"""Errors that say what to do: retry, quarantine, or stop.

Every role maps foreign errors (driver, HTTP, OS) to one of these at its rim and chains the cause.
"""

from __future__ import annotations

import re


class TidemillError(Exception):
    """Base of every error raised on purpose by tidemill."""


class Retry(TidemillError):
    """A passing trouble (broker away, store away, engine loading): try the same thing again.

    ``after_s`` is the least time to wait, in seconds.
    """

    def __init__(self, message: str, *, after_s: float = 1.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Quarantine(TidemillError):
    """This input can never be handled: send it unchanged to its dead-letter topic, with ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stop(TidemillError):
    """The process must not go on: its message names the setting or state, its value, and the way out."""


class SettingsError(Stop):
    """A setting is wrong; the message names the file, the line, the setting, its value and what is allowed."""


def without_credentials(text: str) -> str:
    """The same words without the user and password in any URL among them: for messages that are logged and kept."""
    return re.sub(r"(?<=://)[^/\s@]+@", "", text)
