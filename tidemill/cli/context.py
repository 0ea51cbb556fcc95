"""What the commands share: the settings they were told to use, and what must be there before they begin."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path

from tidemill.errors import Stop, TidemillError
from tidemill.settings import Settings, find_settings_file, load_settings
from tidemill.settings.load import NO_PIPELINES

_file: Path | None = None


def use(file: Path | None) -> None:
    """Remember the ``--settings`` option."""
    global _file
    _file = file


def settings() -> Settings:
    """The settings of this command. Raises SettingsError."""
    return load_settings(_file)


def command() -> str:
    """How this command was called, as people can call it again from here: ``.venv/bin/tidemill``, say."""
    called = Path(sys.argv[0]).absolute()
    if called.suffix == ".py":
        return f"{shorter(Path(sys.executable))} -m tidemill.cli.main"
    found = shutil.which(called.name)
    if found is not None and Path(found).absolute() == called:
        return called.name
    return shorter(called)


def shorter(path: Path) -> str:
    """The path from the working directory, where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def needs_pipelines(settings: Settings) -> None:
    """Raises Stop with the settings file when there is no pipeline at all."""
    if not settings.pipelines:
        raise Stop(f"{_file or find_settings_file()}: {NO_PIPELINES}")


def needs_pipeline(settings: Settings, name: str) -> None:
    """Raises Stop with the known ones when there is no pipeline of this name."""
    if name not in settings.pipelines:
        raise Stop(f"there is no pipeline {name!r}; choose one of {', '.join(settings.pipelines)}")


def needs_stack(settings: Settings, so: str = "") -> None:
    """Raises Stop at once where Kafka is the embedded one and no stack runs it; ``so`` says what that means."""
    from tidemill.local import statefile

    if not settings.kafka.bootstrap and statefile.running(settings.data_dir) is None:
        raise Stop(f"no stack is running on {settings.data_dir}{so}; start one with `tidemill up`")


def quiet(settings: Settings) -> Settings:
    """The same settings with Kafka clients that print nothing of their own: a command says itself what is wrong."""
    kafka = settings.kafka.model_copy(update={"options": {"log_level": 0, **settings.kafka.options}})
    return settings.model_copy(update={"kafka": kafka})


def who(by: str = "") -> str:
    """Who gives an order: ``by``, else the account. Raises Stop where there is none, as in some containers."""
    try:
        return by or getpass.getuser()
    except (OSError, KeyError):
        raise Stop("who you are is not known here: give --by NAME") from None


def no_kafka(settings: Settings) -> Stop:
    """What to say where the broker is silent."""
    way_out = "see kafka.bootstrap in tidemill.yaml" if settings.kafka.bootstrap else "see `tidemill status`"
    return Stop(f"Kafka at {settings.kafka_bootstrap} does not answer; {way_out}")


def no_store(settings: Settings, error: TidemillError) -> Stop:
    """What to say where the store gave no answer to a query."""
    from tidemill.io.clickhouse import NO_TABLES, StoreError

    way_out = "see clickhouse.url in tidemill.yaml" if settings.clickhouse.url else "see `tidemill status`"
    if not isinstance(error, StoreError):
        return Stop(f"the store does not answer; {way_out}")
    if error.code in NO_TABLES:
        return Stop(
            "there is no data yet: the store has no tables. They are made as a stack starts, or by `tidemill init`"
        )
    return Stop(f"the store refused a query (ClickHouse's error {error.code}: {error}); {way_out}")
