"""Numbered migrations and named queries, package data."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def query(name: str) -> str:
    """The text of ``queries/<name>.sql``; its comment lines say what it gives."""
    return (resources.files(__package__) / "queries" / f"{name}.sql").read_text(encoding="utf-8")
