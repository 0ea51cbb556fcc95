"""Who may call: keys as ``Authorization: Bearer``, compared by hash in constant time.

A gateway key opens everything but feedback from a trusted source, which the gate believes; an audit key opens that too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from serving.gateway.errors import CallError
from tidemill.errors import Stop

MIN_KEY_LENGTH = 24
MIN_DISTINCT = 8
_KNOWN_WORDS = ("changeme", "change-me", "secret", "password", "example", "your-api-key", "12345678", "test-key")
_BEARER = b"bearer "


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def weakness(key: str) -> str | None:
    """Why a key must not guard anything; None when it may."""
    if len(key) < MIN_KEY_LENGTH:
        return f"it has {len(key)} characters, fewer than {MIN_KEY_LENGTH}"
    if len(set(key)) < MIN_DISTINCT:
        return f"it has only {len(set(key))} different characters"
    lowered = key.lower()
    known = next((word for word in _KNOWN_WORDS if word in lowered), None)
    return f"it contains {known!r}, as keys printed in manuals do" if known else None


class Keys:
    """The gateway's keys and the audit keys.

    ``None`` instead of gateway keys opens the gateway to all (loopback only, see the settings), but not its trusted
    sources. Raises Stop on a weak key, and on one that is in both lists.
    """

    def __init__(self, keys: Iterable[str] | None, audit: Iterable[str] = ()) -> None:
        self._open = keys is None
        found, trusted = list(keys or ()), list(audit)
        if not self._open and not found:
            raise Stop("the gateway has no API keys; run `tidemill init` or set TIDEMILL_GATEWAY_KEYS")
        _check_all("gateway", found)
        _check_all("audit", trusted)
        if set(found) & set(trusted):
            raise Stop("an audit key is a gateway key too, so every client would be trusted; take it out of one list")
        self._digests = [_digest(key.encode()) for key in found]
        self._trusted = [_digest(key.encode()) for key in trusted]

    def check(self, authorization: bytes | None) -> bool:
        """Whether the caller may speak for a trusted source. Raises CallError 401 unless it may call at all."""
        given = authorization or b""
        has_key = given[: len(_BEARER)].lower() == _BEARER
        digest = _digest(given[len(_BEARER) :].strip() if has_key else b"")
        is_trusted, is_known = _is_one_of(digest, self._trusted), _is_one_of(digest, self._digests)
        if is_trusted or is_known or self._open:
            return is_trusted
        if not has_key:
            raise CallError(
                401,
                "authentication_error",
                "No API key was given: send the header 'Authorization: Bearer <key>'.",
                code="missing_api_key",
            )
        raise CallError(
            401, "authentication_error", "The API key is not known to this gateway.", code="invalid_api_key"
        )


def _check_all(kind: str, keys: list[str]) -> None:
    for number, key in enumerate(keys, 1):
        if (why := weakness(key)) is not None:
            raise Stop(f"{kind} key number {number} is refused: {why}; make one with `tidemill init`")


def _is_one_of(digest: bytes, known: list[bytes]) -> bool:
    matches = [hmac.compare_digest(digest, one) for one in known]  # all of them: no early exit
    return any(matches)
