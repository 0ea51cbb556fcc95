"""JSON Schemas of the topics, made from the event types; released versions are frozen by digest.

``schemas/<topic>.v<N>.json`` is the schema, ``schemas/examples/<topic>.v<N>.json`` example payloads (each must decode),
``schemas/frozen.json`` the SHA-256 of every released schema: a change to one of them is a new version, in a new file.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any

import msgspec

from tidemill.errors import Stop
from tidemill.topics import TOPICS, Topic

VERSION = 1


def schema_of(topic: Topic) -> dict[str, Any]:
    """The topic's JSON Schema as its event type says today."""
    schema: dict[str, Any] = msgspec.json.schema(topic.event)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": topic.name, **schema}


def schema_text(topic: Topic) -> str:
    """The schema as the file holds it."""
    return json.dumps(schema_of(topic), indent=2, sort_keys=True) + "\n"


def file_name(topic: Topic) -> str:
    """Name of the topic's schema file, and of its examples."""
    return f"{topic.name}.v{VERSION}.json"


def released_schema(topic: Topic) -> str:
    """The text of the released schema. Raises Stop when its bytes are not the ones that were frozen."""
    folder = resources.files("tidemill") / "schemas"
    text = (folder / file_name(topic)).read_text(encoding="utf-8")
    frozen = json.loads((folder / "frozen.json").read_text(encoding="utf-8"))
    if frozen.get(file_name(topic)) != digest(text):
        raise Stop(f"schemas/{file_name(topic)} differs from its frozen digest: restore it, or release a new version")
    return text


def examples(topic: Topic) -> list[Any]:
    """Example payloads of the topic's released version."""
    folder = resources.files("tidemill") / "schemas" / "examples"
    loaded: list[Any] = json.loads((folder / file_name(topic)).read_text(encoding="utf-8"))
    return loaded


def digest(text: str) -> str:
    """SHA-256 of a schema's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def freeze() -> dict[str, str]:
    """Digest of every topic's schema as its event type says today, by file name."""
    return {file_name(topic): digest(schema_text(topic)) for topic in TOPICS}
