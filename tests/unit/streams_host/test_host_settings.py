"""Settings of the host role that cannot be meant are refused, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.errors import SettingsError
from tidemill.settings import load_settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host: {disk_above: 0.8}", r"host\.disk_leave.*0\.93 is beyond disk_above \(0\.8\)"),
        (
            "host: {engines: [locl]}\nengines: {local: {}}",
            r"host\.engines.*'locl' is not in engines; did you mean 'local'",
        ),
        ("engines: {local: {probe: {every_s: 0.5}}}", r"0\.5 floods the engine; give at least 1, or 0: no probes"),
        ("host: {watch: []}", r"watch"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "tidemill.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_settings(file, {})


def test_probes_are_off_by_default(tmp_path: Path) -> None:
    file = tmp_path / "tidemill.yaml"
    file.write_text("engines: {far: {kind: provider, url: 'https://api.example.com/v1'}}")
    settings = load_settings(file, {})
    assert settings.engines["far"].probe.every_s == 0 and settings.host.engines is None
