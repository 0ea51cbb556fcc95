"""What an engine serves beside what is registered: a pure comparison.

An engine tells each adapter's name, the folder it was loaded from and its base, but no digest of what it holds in
memory. So the digest is taken of the file in that folder now: a file that was changed after loading is found, one that
was changed before loading and changed back is not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tidemill.troubles import LONGEST_NAME, Trouble

SERVED = "served"
LONGEST_SHOWN = 600
"""Characters of one difference in an alarm: names and folders are the engine's word."""
_TRIED_OUT = re.compile(r"gate-.{1,8}-([0-9a-f]{8})")
"""Name of an adapter that the gate compares with its training: it ends with the beginning of its digest."""


class Adapter(NamedTuple):
    """An adapter that an engine has loaded."""

    name: str
    folder: str = ""
    """As the engine sees it; empty where it does not say."""
    base: str = ""
    digest: str | None = None
    """SHA-256 of the weights in the folder now; None where the folder cannot be seen from here."""
    gone: bool = False
    """The folder's parent can be seen and the weights cannot."""


class Expected(NamedTuple):
    """What is known of the versions that an engine may serve."""

    digests: Mapping[str, str | None]
    """By version what the registry notes; None: no digest (of a first champion the settings alone tell)."""
    routed: Collection[str]
    """Names that the routes send calls to."""
    base: str
    """Name of the base model in the settings."""
    folders: Mapping[str, str]
    """Where each version's adapter lies, absolute."""


class Difference(NamedTuple):
    """One way in which an engine serves something else than what is registered."""

    model: str
    why: str


def differences(adapters: Iterable[Adapter], names: Collection[str], expected: Expected) -> list[Difference]:
    """All of them, by model. ``names`` is everything that the engine serves, base and adapters.

    No difference is a registered version that nobody routes to (a candidate, or a former champion that drains), and
    an adapter that the gate tries out, if its file is the one it is named after.
    """
    found = [Difference(adapter.name, why) for adapter in adapters if (why := _wrong(adapter, expected)) is not None]
    found += [
        Difference(name, "calls are routed to it, and it is not loaded")
        for name in expected.routed
        if name not in names
    ]
    if expected.base not in names:
        found.append(Difference(expected.base, "the engine does not serve the base of this name"))
    return sorted(found)


def _wrong(adapter: Adapter, expected: Expected) -> str | None:
    tried_out = _TRIED_OUT.fullmatch(adapter.name)
    if adapter.base and adapter.base != expected.base:
        return f"it sits on base {adapter.base!r}, not on {expected.base!r}"
    if tried_out is not None:
        same = adapter.digest is None or adapter.digest.startswith(tried_out[1])
        return None if same else f"its file ({_short(adapter.digest)}) is not the one it is named after"
    if adapter.name not in expected.digests:
        return "no pipeline of this engine has a version of this name"
    if adapter.gone:
        return f"its file is gone from {adapter.folder}"
    lies = expected.folders.get(adapter.name)
    if adapter.digest is None and adapter.folder and lies and adapter.folder != lies:
        return f"it was loaded from {adapter.folder}, which cannot be seen from here; it lies in {lies}"
    registered = expected.digests[adapter.name]
    if registered and adapter.digest is not None and adapter.digest != registered:
        return (
            f"the file in {adapter.folder} ({_short(adapter.digest)}) is not the registered one ({_short(registered)})"
        )
    return None


def _short(digest: str | None) -> str:
    return "sha256 " + (digest or "")[:12]


class Comparisons:
    """Remembers the differences of the last comparison by engine: what is under way for a moment is no trouble."""

    def __init__(self) -> None:
        self._before: dict[str, set[Difference]] = {}
        self._noted: dict[tuple[str, str], str] = {}

    def held_to(self, engine: str, adapters: Iterable[Adapter], expected: Expected) -> Expected:
        """A version for which the registry notes no digest (a first champion, until the first retraining registers it)
        is held to the digest that it had when it was first seen.
        """
        digests = dict(expected.digests)
        for adapter in adapters:
            if adapter.digest is not None and adapter.name in digests and digests[adapter.name] is None:
                digests[adapter.name] = self._noted.setdefault((engine, adapter.name), adapter.digest)
        return expected._replace(digests=digests)

    def judge(self, engine: str, found: Collection[Difference], alarming: bool, now_ms: int) -> list[Trouble]:
        """The trouble with one engine: what differs now and differed in the last comparison, too.

        ``alarming``: an alarm is open (it stays while anything differs).
        """
        before = self._before.get(engine, set())
        self._before[engine] = set(found)
        lasting = [each for each in found if alarming or each in before]
        if not lasting:
            return []
        shown = "; ".join(f"{each.model}: {each.why}"[:LONGEST_SHOWN] for each in lasting[:5])
        return [
            Trouble(
                rule=SERVED,
                metric=served_metric(engine),
                value=len(lasting),
                threshold=0,
                since_ms=now_ms,
                cause=f"{lasting[0].model}:{now_ms}",
                summary=f"{engine} serves something else than what is registered: {shown}",
            )
        ]


def served_metric(engine: str) -> str:
    """The metric of the alarm."""
    return f"served/{engine}"[:LONGEST_NAME]
