"""The table of topics names the roles that read and write each topic, as their code does."""

from __future__ import annotations

import re
from pathlib import Path

from tidemill import topics
from tidemill.roles import ROLES
from tidemill.topics import BY_COMMAND, LANDING, TOPICS, Topic

ROOT = Path(__file__).parents[3]
CONSTANTS: dict[str, Topic] = {name: value for name, value in vars(topics).items() if isinstance(value, Topic)}
FOLDERS = {"streams": ("streams/app",), "retrain": ("retrain",)}
"""Where a role's code lies, where that is not the folder of its module."""
READ = re.compile(r"\b([A-Z]+)\.decoder\(\)|subscribe\(\[([A-Z]+)\.name|follower\([^()]*\b([A-Z]+)\b")


def code_of(role: str) -> str:
    folders = FOLDERS.get(role, (str(Path(*ROLES[role][0].split(".")[:-1])),))
    return "\n".join(file.read_text() for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))


def said(cell: str) -> set[str]:
    return {name for name in cell.split(", ") if name not in ("any producer", BY_COMMAND)}


def test_every_topic_names_the_roles_whose_code_names_it() -> None:
    assert set(CONSTANTS.values()) == set(TOPICS)
    sources = {role: code_of(role) for role in ROLES if role not in ("sink", "store")}
    for constant, topic in CONSTANTS.items():
        found = {role for role, code in sources.items() if re.search(rf"\b{constant}\b", code)}
        known = said(topic.read_by) | said(topic.written_by)
        assert known - {"sink"} == found, topic.name
        assert ("sink" in said(topic.read_by)) is (topic in LANDING), topic.name


def test_a_role_that_reads_a_topic_is_named_as_its_reader() -> None:
    seen = set()
    for role in ROLES:
        for constant in {name for match in READ.findall(code_of(role)) for name in match if name in CONSTANTS}:
            assert role in said(CONSTANTS[constant].read_by), f"{role} reads {CONSTANTS[constant].name}"
            seen.add((role, constant))
    assert {("scorer", "FEEDBACK"), ("gateway", "ROUTES"), ("rollout", "GATEWAYS")} <= seen
