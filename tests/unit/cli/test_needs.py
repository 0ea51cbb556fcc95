"""Commands that need a running stack, a broker or a known pipeline say so at once, with the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.cli import context, rollout
from tidemill.cli.train import train
from tidemill.errors import Retry, Stop
from tidemill.io.clickhouse import StoreError
from tidemill.local import statefile
from tidemill.settings import Settings
from tidemill.settings.model import ClickHouseSettings, KafkaSettings

FILE = """\
data_dir: data
engines: {local: {}}
pipelines: {support: {engine: local, champion: support-v1}}
"""


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "tidemill.yaml"
    file.write_text(FILE)
    monkeypatch.setattr(context, "_file", file)
    monkeypatch.delenv("TIDEMILL_DATA_DIR", raising=False)
    return tmp_path / "data"


COMMANDS: list[Callable[[str], None]] = [rollout.status, lambda name: rollout.rollback(name, "x"), train]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_stack_the_way_out_is_named_and_nothing_is_done(
    command: Callable[[str], None], data_dir: Path
) -> None:
    with pytest.raises(Stop, match=rf"^no stack is running on {re.escape(str(data_dir))}.*; start one with `tidemill"):
        command("support")
    assert not data_dir.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_pipeline_is_named_before_anything_else(command: Callable[[str], None], data_dir: Path) -> None:
    with pytest.raises(Stop, match="there is no pipeline 'nonsense'; choose one of support"):
        command("nonsense")


def test_nobody_would_take_the_order(data_dir: Path) -> None:
    with pytest.raises(Stop, match="so nobody would take the order; start"):
        train("support")


def test_an_order_is_placed_where_a_stack_runs(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = statefile.StackLock(data_dir)
    lock.take()
    train("support")
    lock.free()
    assert "with `tidemill rollout status`" in capsys.readouterr().out


def test_a_broker_of_its_own_needs_no_stack(tmp_path: Path) -> None:
    context.needs_stack(Settings(data_dir=tmp_path, kafka=KafkaSettings(bootstrap="broker:9092")))


def test_a_silent_broker_is_named_with_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tidemill.io.kafka.TIMEOUT_S", 0.5)
    settings = Settings(data_dir=tmp_path, kafka=KafkaSettings(bootstrap="127.0.0.1:1"))
    with pytest.raises(Stop, match=r"^Kafka at 127.0.0.1:1 does not answer; see kafka.bootstrap in tidemill.yaml$"):
        rollout.last_states(settings)
    assert capfd.readouterr().err == ""


def test_a_store_that_gives_no_answer_is_told_in_one_line_with_the_way_out(tmp_path: Path) -> None:
    here = Settings(data_dir=tmp_path)
    there = here.model_copy(update={"clickhouse": ClickHouseSettings(url="http://store:8123")})
    away = Retry("HTTPConnectionPool(host=…)")
    assert str(context.no_store(here, away)) == "the store does not answer; see `tidemill status`"
    assert str(context.no_store(there, away)) == "the store does not answer; see clickhouse.url in tidemill.yaml"
    assert "no tables" in str(context.no_store(here, StoreError(60, "Code: 60. DB::Exception")))
    assert "error 241: memory limit" in str(context.no_store(here, StoreError(241, "memory limit")))


def test_options_of_the_settings_are_kept_when_clients_are_quiet(tmp_path: Path) -> None:
    kafka = KafkaSettings(options={"security.protocol": "ssl"})
    assert context.quiet(Settings(kafka=kafka)).kafka.options == {"log_level": 0, "security.protocol": "ssl"}
    assert context.quiet(Settings(kafka=KafkaSettings(options={"log_level": 6}))).kafka.options == {"log_level": 6}
