"""The reference pages say what the code says, and leave nothing out."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from streams.host import levels, probe, served
from tidemill import topics_reference
from tidemill.cli.main import app
from tidemill.metrics import HOST_METRICS
from tidemill.settings import load_settings, reference

DOCS = Path(__file__).parents[3] / "docs"
ROOMS = ("producers", "streams", "consumers", "retrain", "serving", "dashboards", "tidemill", "benchmarks")
FOLDERS = (*ROOMS, "deploy", "tests")


def test_the_settings_page_is_what_the_settings_say() -> None:
    written = (DOCS / "reference" / "settings.md").read_text()
    assert written == reference.page(), "run: python -m tidemill.settings.reference > docs/reference/settings.md"


def test_every_setting_has_a_meaning() -> None:
    assert [line for line in reference.page().splitlines() if line.endswith("|  |")] == []


def test_the_topics_page_is_what_the_table_says() -> None:
    written = (DOCS / "reference" / "topics.md").read_text()
    assert written == topics_reference.page(), "run: python -m tidemill.topics_reference > docs/reference/topics.md"


def test_the_rooms_page_says_of_each_room_what_the_room_says() -> None:
    page = (DOCS / "explanation" / "where-things-live.md").read_text()
    rooms = [file for folder in ROOMS for file in (DOCS.parent / folder).rglob("__init__.py")]
    said = {f"{file.parent.relative_to(DOCS.parent)}/": _opening(file) for file in rooms}
    assert all(said.values()), "a room without a word"
    assert sorted(re.findall(r"^\| `([\w/]+/)` \| (.*) \|$", page, flags=re.MULTILINE)) == sorted(said.items())


def _opening(file: Path) -> str:
    """The first paragraph of a module's docstring, on one line and as Markdown."""
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("``", "`")


def test_every_link_of_the_pages_leads_somewhere() -> None:
    root = DOCS.parent
    for page in [root / "README.md", *DOCS.rglob("*.md")]:
        for target, place in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
            if "://" in target:
                continue
            file = page.parent / target if target else page
            assert file.exists(), f"{page.relative_to(root)}: {target}"
            assert not place or place in places(file.read_text()), f"{page.relative_to(root)}: {target}#{place}"


def places(text: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_every_page_that_is_named_anywhere_exists() -> None:
    root = DOCS.parent
    sources = [file for folder in FOLDERS for file in (root / folder).rglob("*.py")]
    for file in [root / "README.md", root / "tidemill.yaml", *DOCS.rglob("*.md"), *sources]:
        for page in re.findall(r"docs/[\w/-]+\.md", file.read_text()):
            assert (root / page).is_file(), f"{file.relative_to(root)}: {page}"


def test_every_command_named_in_the_pages_exists_with_its_options() -> None:
    left_out = DOCS / "decisions"  # they may name what was not built
    pages = [page for page in DOCS.rglob("*.md") if left_out not in page.parents]
    text = "\n".join(page.read_text() for page in [DOCS.parent / "README.md", *pages])
    assert "bin/tidemill demo --scenario" in text
    assert wrong_commands(text) == []
    makefile = (DOCS.parent / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.MULTILINE))
    assert "demo" in targets
    for target in targets:
        assert f"\n{target}:" in makefile, target


def test_a_wrong_command_or_option_would_be_noticed() -> None:
    assert wrong_commands("bin/tidemill demo --seed 1  # --none\n`tidemill rollout status schedule --json`") == []
    assert wrong_commands("bin/tidemill demo --sed 1") == ["demo --sed"]
    assert wrong_commands("see `tidemill rollout approve` and `tidemill nothing`") == ["rollout approve", "nothing"]


def wrong_commands(text: str) -> list[str]:
    """Commands, and options of commands, that a page names and that do not exist."""
    commands, wrong = options_by_command(get_command(app)), []
    for words, rest in re.findall(r"(?:bin/|`)tidemill ((?:[a-z]+ ?)+)([^\n#`]*)", text):
        first, pair = words.split()[0], " ".join(words.split()[:2])
        name = first if first in commands else pair
        options = commands.get(name)
        if options is None:
            wrong.append(name)
        else:
            wrong += [f"{name} {option}" for option in re.findall(r"--[a-z][a-z-]*", rest) if option not in options]
    return wrong


def options_by_command(command: Any, path: str = "") -> dict[str, set[str]]:
    """Option names of every command, by its words (``rollout status``)."""
    if not hasattr(command, "commands"):
        return {path: {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}}
    inner = (options_by_command(each, f"{path} {name}".strip()) for name, each in command.commands.items())
    return dict(item for group in inner for item in group.items())


def test_the_settings_shown_in_the_how_tos_load(tmp_path: Path) -> None:
    shown = [block for page in (DOCS / "how-to").glob("*.md") for block in _blocks(page.read_text(), "yaml")]
    assert shown
    for block in shown:
        file = tmp_path / "shown.yaml"
        file.write_text(block)
        assert load_settings(file, {}).pipelines


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_page_of_hosts_names_every_figure_and_every_rule() -> None:
    page = (DOCS / "reference" / "hosts.md").read_text()
    first = re.findall(r"^\| `(\w+)` \| `", page, flags=re.MULTILINE)
    figures, rules = first[: len(HOST_METRICS)], first[len(HOST_METRICS) :]
    assert tuple(figures) == HOST_METRICS
    assert set(rules) == {*levels.LEVEL_RULES, levels.ENGINE_UNREACHABLE, served.SERVED, *probe.RULES}
