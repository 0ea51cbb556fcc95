"""The table of Prometheus names holds what the roles make, and the alert rules name nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from tidemill.metrics import ROLE_METRICS

ROOT = Path(__file__).parents[3]
ROLES = ("producers", "streams", "consumers", "retrain", "serving", "dashboards")
MADE = re.compile(r'(Counter|Gauge|Histogram)\(\s*"(tidemill_\w+)"')


def made_names() -> set[str]:
    """Names as Prometheus sees them: a counter's ends with ``_total``."""
    sources = (file.read_text() for role in ROLES for file in (ROOT / role).rglob("*.py"))
    found = (match for source in sources for match in MADE.findall(source))
    return {f"{name.removesuffix('_total')}_total" if kind == "Counter" else name for kind, name in found}


def test_the_table_lists_what_the_roles_make() -> None:
    assert sorted(made_names()) == sorted(ROLE_METRICS)


def test_every_name_in_the_alert_rules_is_listed() -> None:
    named = set(re.findall(r"tidemill_\w+", (ROOT / "deploy" / "compose" / "rules.yml").read_text()))
    assert named
    assert named <= set(ROLE_METRICS)
