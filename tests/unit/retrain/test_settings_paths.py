"""Folders named in the settings follow the data_dir."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.settings import Settings


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (".tidemill/models/base", "/elsewhere/data/models/base"),
        ("models/base", "/elsewhere/models/base"),
        ("/models/base", "/models/base"),
    ],
)
def test_resolve(named: str, expected: str) -> None:
    assert Settings(data_dir=Path("/elsewhere/data")).resolve(named) == Path(expected)
