"""The table of Prometheus names and the page about them hold what the roles make; the alert rules name nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


def test_every_name_in_the_alert_rules_is_listed() -> None:
    named = set(re.findall(r"tidemill_\w+", (ROOT / "deploy" / "compose" / "rules.yml").read_text()))
    assert named
    assert named <= set(ROLE_METRICS)
