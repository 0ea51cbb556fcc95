"""What all settings have in common: strict models, and errors that name their own line and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """Base of all settings: unknown names and wrong types are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def wrong(path: tuple[str | int, ...], message: str) -> PydanticCustomError:
    """An error of the setting at ``path`` below the group that is being checked, so that its own line is named."""
    return PydanticCustomError("setting", "{message}", {"message": message, "path": path})


def choice(value: str, known: Collection[str]) -> str:
    """What ``value`` may have meant, else what there is."""
    close = difflib.get_close_matches(value, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known) or 'none'}"
