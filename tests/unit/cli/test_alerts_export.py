"""`tidemill alerts export`: what can be had, and what is said of what cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tidemill.cli import context
from tidemill.cli.alerts import export
from tidemill.errors import Stop

SETTINGS = Path(__file__).parents[3] / "docs" / "how-to" / "service-levels.yaml"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_file", SETTINGS)


def test_rules_are_written_and_what_prometheus_lacks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export("prometheus", tmp_path / "rules.yml")
    names = [group["name"] for group in yaml.safe_load((tmp_path / "rules.yml").read_text())["groups"]]
    assert "tidemill support" in names
    assert capsys.readouterr().err == "left out: support/labels: Prometheus has no figure of quality\n"


def test_what_cannot_be_exported_is_named_with_what_can() -> None:
    with pytest.raises(Stop, match="'grafana': choose prometheus or alertmanager"):
        export("grafana")
    with pytest.raises(Stop, match=r"no webhook that Alertmanager could call: alerts\.webhooks is empty"):
        export("alertmanager")
