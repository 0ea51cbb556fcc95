"""Real parts for integration tests, started once per run on ports and data of their own.

``settings``/``stack_settings``: the demo deployment's settings, moved. ``kafka``: a real broker with every topic made;
its value is host:port. ``store``: the store with every table. ``mlflow``: the tracking server's URL, started when first
asked for. All end with the run, also when it is killed. The broker is shared by all tests: use ``unique`` for group
ids, or start from empty topics with ``fresh_topics``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import until
from tidemill.io.topic_admin import ensure_topics
from tidemill.local.plan import embedded_stack
from tidemill.local.ports import free_port_base
from tidemill.local.process import Children
from tidemill.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
if importlib.util.find_spec("tests.integration.store_fixture"):
    from tests.integration.store_fixture import *  # noqa: F403


@pytest.fixture(scope="session")
def stack_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """tidemill.yaml with free ports and a data directory of its own."""
    folder = tmp_path_factory.mktemp("stack")
    return load_settings(
        ROOT / "tidemill.yaml",
        {"TIDEMILL_DATA_DIR": str(folder), "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base())},
    )


@pytest.fixture(scope="session")
def settings(stack_settings: Settings) -> Settings:
    """The same settings, for tests that do not care where they come from."""
    return stack_settings


@pytest.fixture(scope="session")
def children() -> Iterator[Children]:
    """Starts processes that end with this test run, whatever happens to it."""
    made = Children()
    yield made
    made.close()


@pytest.fixture(scope="session")
def kafka(stack_settings: Settings, children: Children) -> Iterator[str]:
    """A real broker with every topic of the table; its value is ``host:port``."""
    with _running("kafka", stack_settings, children, within_s=120):
        ensure_topics(stack_settings)
        yield stack_settings.kafka_bootstrap


@pytest.fixture(scope="session")
def mlflow(stack_settings: Settings, children: Children) -> Iterator[str]:
    """The embedded tracking server and registry; its value is the URL. Takes a quarter of a minute to start."""
    with _running("mlflow", stack_settings, children, within_s=280):
        yield stack_settings.mlflow_url


@contextlib.contextmanager
def _running(name: str, settings: Settings, children: Children, *, within_s: float) -> Iterator[None]:
    """One part of the embedded stack, ready."""
    process = embedded_stack(settings, [name])[0]
    if process.before is not None:
        process.before()
    log = settings.data_dir / "logs" / f"{name}.log"
    started = children.start(process, log)

    def ready() -> bool:
        if started.poll() is not None:
            pytest.fail(f"{name} ended with code {started.returncode}: {log.read_text()[-2000:]}")
        return process.probe is None or process.probe() is None

    try:
        until(ready, within_s=within_s, what=f"{name} is ready")
        yield
    finally:
        children.stop(started, process.grace_s)


@pytest.fixture(scope="session")
def unique() -> Callable[[str], str]:
    """Names that no other test of this run gets: ``unique("group")``."""
    numbers = itertools.count()
    return lambda prefix: f"{prefix}-{os.getpid()}-{next(numbers)}"


@pytest.fixture
def fresh_topics(stack_settings: Settings, kafka: str) -> None:
    """Every topic of the table is empty when the test begins (offsets go on; compacted topics are made anew)."""
    from tests.integration.topics import empty_topics

    empty_topics(stack_settings)
