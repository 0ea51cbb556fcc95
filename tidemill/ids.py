"""Identifiers: UUIDv7 for calls, and the completion id handed to a client.

The completion id carries an encrypted, authenticated routing tag, so that feedback which quotes it is
attributed to pipeline, version and variant without a look-up. Nobody without the deployment's key can
read the tag (clients do not see their arm) or forge it (nobody can credit another version).

Sources: RFC 9562 (UUIDv7), RFC 5297 (AES-SIV: deterministic, so the same call always has the same id).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tidemill.errors import Quarantine

ROUTING_KEY_BYTES = 32
_PREFIX = "chatcmpl-"
_HEX = 32
_PLAINTEXT_STEP = 48  # each part is padded to a multiple of this, so that its length tells nothing of the arm
_PART = b"\n"  # between what served the call and its slices: JSON has none within a text
MAX_SLICE_VALUE = 64
"""Longer values of a call's slices are left out of its id: it travels with every piece of a streamed answer."""


class Routing(NamedTuple):
    """What a completion id says about the answer it names."""

    call_id: str
    pipeline: str
    model_version: str
    variant: str
    call_time_ms: int
    slices: Mapping[str, str] = {}
    """Of which slices the call is: values by dimension, those of at most MAX_SLICE_VALUE characters."""


def uuid7(now_ms: int, random_bytes: bytes | None = None) -> str:
    """A UUIDv7 as 36 characters. ``random_bytes`` (10 of them) makes it repeatable."""
    rand = secrets.token_bytes(10) if random_bytes is None else random_bytes
    if len(rand) != 10:
        raise ValueError(f"uuid7 needs 10 random bytes, got {len(rand)}")
    raw = bytearray(now_ms.to_bytes(6, "big") + rand)
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return dashed(raw.hex())


def dashed(hex32: str) -> str:
    """The 36-character form of 32 hexadecimal digits."""
    return f"{hex32[:8]}-{hex32[8:12]}-{hex32[12:16]}-{hex32[16:20]}-{hex32[20:]}"


def uuid7_time_ms(uuid: str) -> int:
    """The time inside a UUIDv7, epoch milliseconds."""
    return int(uuid.replace("-", "")[:12], 16)


def derived_id(*parts: object) -> str:
    """A 32-digit id that depends on ``parts`` alone: the same cause always gives the same id."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:32]


def version_of(pipeline: str, number: object) -> str:
    """The version that the registry has under this number: ``<pipeline>-v<N>``."""
    return f"{pipeline}-v{number}"


def is_version_of(pipeline: str, version: str) -> bool:
    """Whether it is ``<pipeline>-v<N>``."""
    return re.fullmatch(re.escape(pipeline) + r"-v\d+", version) is not None


def pipeline_and_number(version: str) -> tuple[str, str]:
    """What stands before and after the last ``-v``: pipeline and the registry's number. No pipeline without one."""
    pipeline, _, number = version.rpartition("-v")
    return pipeline, number


def new_routing_key() -> bytes:
    """A fresh key for routing tags; ``tidemill init`` makes one, all gateways share it."""
    return secrets.token_bytes(ROUTING_KEY_BYTES)


class CompletionIds:
    """Makes and reads completion ids with one deployment's key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != ROUTING_KEY_BYTES:
            raise ValueError(f"the routing key must be {ROUTING_KEY_BYTES} bytes, got {len(key)}; run `tidemill init`")
        self._siv = AESSIV(key)

    def make(self, routing: Routing) -> str:
        """The id handed to the client: ``chatcmpl-<32 hex><tag>``."""
        call_hex = routing.call_id.replace("-", "")
        plain = _padded(msgspec.json.encode((routing.pipeline, routing.model_version, routing.variant)))
        slices = {name: value for name, value in routing.slices.items() if len(value) <= MAX_SLICE_VALUE}
        if slices:
            plain += _padded(_PART + msgspec.json.encode(slices))
        tag = self._siv.encrypt(plain, [call_hex.encode()])
        return _PREFIX + call_hex + base64.urlsafe_b64encode(tag).decode().rstrip("=")

    def read(self, completion_id: str) -> Routing:
        """What the id says. Raises Quarantine where it is not one of ours or was altered."""
        if not completion_id.startswith(_PREFIX) or len(completion_id) < len(_PREFIX) + _HEX:
            raise Quarantine("completion_id: not an id handed out by this gateway")
        body = completion_id[len(_PREFIX) :]
        call_hex, tag = body[:_HEX], body[_HEX:]
        try:
            sealed = base64.urlsafe_b64decode(tag + "=" * (-len(tag) % 4))
            plain = self._siv.decrypt(sealed, [call_hex.encode()])
            served, _, sliced = plain.partition(_PART)
            pipeline, version, variant = msgspec.json.decode(served, type=tuple[str, str, str])
            slices = msgspec.json.decode(sliced, type=dict[str, str]) if sliced else {}
            call_id = dashed(call_hex)
            return Routing(call_id, pipeline, version, variant, uuid7_time_ms(call_id), slices)
        except (InvalidTag, binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise Quarantine("completion_id: the routing tag is not authentic for this deployment") from error


def _padded(part: bytes) -> bytes:
    return part + b" " * (-len(part) % _PLAINTEXT_STEP)
