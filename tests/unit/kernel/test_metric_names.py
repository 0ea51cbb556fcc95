"""The table of Prometheus names and the page about them hold what the roles make; the alert rules name nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tidemill.metrics import ROLE_METRICS

ROOT = Path(__file__).parents[3]
ROLES = ("producers", "streams", "consumers", "retrain", "serving", "dashboards", "tidemill/io")
MADE = re.compile(r'(Counter|Gauge|Histogram)\(\s*"(tidemill_\w+)"')


def made_names() -> set[str]:
    """Names as Prometheus sees them: a counter's ends with ``_total``."""
    sources = (file.read_text() for role in ROLES for file in (ROOT / role).rglob("*.py"))
    found = (match for source in sources for match in MADE.findall(source))
    return {f"{name.removesuffix('_total')}_total" if kind == "Counter" else name for kind, name in found}


def test_the_table_lists_what_the_roles_make() -> None:
    assert sorted(made_names()) == sorted(ROLE_METRICS)


class Figure(NamedTuple):
    """A row of the page: name, kind and labels."""

    name: str
    kind: str
    labels: tuple[str, ...]


def figures_made() -> Iterator[Figure]:
    """What the roles' code makes; a tuple of labels may be named, and spread into another."""
    for file in (file for role in ROLES for file in (ROOT / role).rglob("*.py")):
        tree = ast.parse(file.read_text())
        named = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if (
                node.func.id in ("Counter", "Gauge", "Histogram")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                kind, name = node.func.id.lower(), str(node.args[0].value)
                name = f"{name.removesuffix('_total')}_total" if kind == "counter" else name
                yield Figure(name, kind, tuple(texts(node.args[2], named)) if len(node.args) > 2 else ())


def texts(node: ast.expr, named: dict[str, ast.expr]) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.Name):
        yield from texts(named[node.id], named)
    elif isinstance(node, ast.Starred):
        yield from texts(node.value, named)
    elif isinstance(node, ast.Tuple | ast.List):
        for each in node.elts:
            yield from texts(each, named)


def test_the_page_of_figures_is_what_the_roles_make() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/reference/prometheus.md").read_text(), flags=re.MULTILINE
    )
    written = {Figure(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert written == set(figures_made())
    assert {figure.name for figure in written} == set(ROLE_METRICS)


def alert_rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((ROOT / "dashboards" / "prometheus" / "rules.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


@cache
def labels_made() -> dict[str, tuple[str, ...]]:
    return {figure.name: figure.labels for figure in figures_made()}


def unknown(promql: str) -> set[str]:
    """Names and labels in a query that no role makes and Prometheus does not add."""
    labels = labels_made()
    names = set(re.findall(r"tidemill_\w+", promql))
    known = {"job", "role", "instance"}.union(*(labels.get(name, ()) for name in names))
    used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", promql))
    used |= {name for inside in re.findall(r"\bby \(([^)]*)\)", promql) for name in re.findall(r"\w+", inside)}
    return (names - labels.keys()) | (used - known)


def test_the_alert_rules_name_figures_and_labels_that_there_are() -> None:
    assert alert_rules()
    for rule in alert_rules():
        assert unknown(rule["expr"]) == set(), rule["alert"]
        shown = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        assert unknown(rule["expr"] + "".join(f" by ({label})" for label in shown)) == set(), rule["alert"]


def test_a_name_or_a_label_that_nobody_makes_would_be_noticed() -> None:
    assert unknown('sum by (topic) (tidemill_streams_partials_total{outcom="overlap"})') == {"topic", "outcom"}
    assert unknown("tidemill_sink_pending_second > 60") == {"tidemill_sink_pending_second"}
