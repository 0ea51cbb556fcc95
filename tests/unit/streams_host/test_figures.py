"""Figures of machines, GPUs and engines: what cannot be known is left out."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from streams.host import scrape
from streams.host.engines import EngineLook
from streams.host.machine import Gpus, Machine
from tests.integration.fake_engine import FakeEngine
from tests.integration.store_fixture import free_port
from tidemill.clock import ManualClock
from tidemill.metrics import HOST_METRICS
from tidemill.settings import Settings
from tidemill.settings.model import EngineSettings


class Vllm:
    """The page of a vLLM server, made by the client that vLLM uses, under its names."""

    def __init__(self, engines: int = 1) -> None:
        self._registry = CollectorRegistry()
        self._labels = [("base", str(at)) for at in range(engines)]
        names = ["model_name", "engine"]
        self._gauges = {name: Gauge(name, name, names, registry=self._registry) for name in scrape.NOW}
        counted = [*scrape.RATES, scrape.HITS, scrape.LOOKED_UP]
        self._counters = {name: Counter(name, name, names, registry=self._registry) for name in counted}
        for each in (*self._gauges.values(), *self._counters.values()):
            for labels in self._labels:
                each.labels(*labels)

    def page(self, **values: float) -> str:
        """``vllm:`` is left out of the names; gauges are set, counters grow, on each of the server's engines."""
        for name, value in values.items():
            for labels in self._labels:
                if f"vllm:{name}" in self._gauges:
                    self._gauges[f"vllm:{name}"].labels(*labels).set(value)
                else:
                    self._counters[f"vllm:{name}_total"].labels(*labels).inc(value)
        return generate_latest(self._registry).decode()


def test_totals_become_rates_between_two_pages() -> None:
    vllm = Vllm()
    first = scrape.scraped(vllm.page(num_requests_waiting=3, prompt_tokens=1000), 100.0)
    assert scrape.figures(first, None) == {"requests_running": 0, "requests_waiting": 3, "kv_cache_share": 0}
    more = {"prompt_tokens": 500.0, "generation_tokens": 50.0, "prefix_cache_queries": 400, "prefix_cache_hits": 300}
    found = scrape.figures(scrape.scraped(vllm.page(num_requests_running=2, **more), 110.0), first)
    assert found["input_tokens_per_s"] == 50 and found["output_tokens_per_s"] == 5
    assert found["preemptions_per_s"] == 0 and found["prefix_hit_share"] == 0.75
    assert found["requests_running"] == 2


def test_an_engine_that_started_anew_has_no_rates_once() -> None:
    before = scrape.scraped(Vllm().page(prompt_tokens=1000), 100.0)
    anew = scrape.scraped(Vllm().page(prompt_tokens=10), 110.0)
    assert "input_tokens_per_s" not in scrape.figures(anew, before)


def test_engines_of_one_server_are_added_up_and_the_fullest_cache_counts() -> None:
    vllm = Vllm(engines=2)
    first = scrape.scraped(vllm.page(num_requests_running=4, kv_cache_usage_perc=0.25), 0.0)
    found = scrape.figures(scrape.scraped(vllm.page(generation_tokens=30), 10.0), first)
    assert (found["requests_running"], found["kv_cache_share"], found["output_tokens_per_s"]) == (8, 0.25, 6)
    assert "prefix_hit_share" not in found, "nothing was looked up"


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_not_known(wrong: float) -> None:
    vllm = Vllm(engines=2)
    first = scrape.scraped(
        vllm.page(num_requests_waiting=wrong, kv_cache_usage_perc=wrong, num_requests_running=1), 0.0
    )
    assert scrape.figures(first, None) == {"requests_running": 2}
    page = "# TYPE vllm:prompt_tokens counter\nvllm:prompt_tokens_total {}\n".format
    pages = [scrape.scraped(page(said), at_s) for at_s, said in enumerate((1e9, str(wrong), 1e9, 1e9 + 5))]
    told = [scrape.figures(now, before) for before, now in itertools.pairwise(pages)]
    assert told == [{}, {}, {"input_tokens_per_s": 5.0}], "and no rate since a total that is not known"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    made = FakeEngine({"base"})
    yield made
    made.close()


def looking_at(url: str) -> EngineLook:
    return EngineLook(Settings(engines={"local": EngineSettings(url=url)}), "local", ManualClock(1))


def test_an_engine_is_looked_at_over_http(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    look = looking_at(engine.url)
    with caplog.at_level(logging.INFO, "streams.host"):
        assert look.look() == look.look() == {}, "it answers and shows nothing"
        assert len(caplog.records) == 1, "said once"
    engine.page = Vllm().page(num_requests_waiting=7)
    assert (look.look() or {})["requests_waiting"] == 7
    engine.page = "<html>no figures</html>"
    assert look.look() == {}
    assert look.models() == {"data": [{"id": "base"}]}


def test_an_engine_that_is_away_has_no_figures() -> None:
    assert looking_at(f"http://127.0.0.1:{free_port()}/v1").look() is None


def test_the_machine_has_its_figures(tmp_path: Path) -> None:
    found = Machine(tmp_path / "new").look()
    assert set(found) <= set(HOST_METRICS)
    for name in ("cpu_share", "memory_share", "disk_share"):
        assert 0 <= found[name] <= 1, name
    assert found["memory_free_bytes"] > 0 and found["disk_free_bytes"] > 0


def test_without_a_gpu_there_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "streams.host.machine"):
        assert list(Gpus(without_driver()).look()) == []
    assert [record.getMessage() for record in caplog.records] == ["no figures of GPUs: Driver Not Loaded"]


class NvmlError(Exception):
    pass


def without_driver() -> SimpleNamespace:
    def refuse() -> None:
        raise NvmlError("Driver Not Loaded")

    return SimpleNamespace(NVMLError=NvmlError, nvmlInit=refuse)


def test_a_gpus_figures_have_units_and_lack_what_the_device_does_not_tell() -> None:
    def refuse(_: int) -> int:
        raise NvmlError("Not Supported")

    nvml = SimpleNamespace(
        NVMLError=NvmlError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda at: at,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=87, memory=40),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=80e9, used=60e9),
        nvmlDeviceGetTemperature=lambda _, kind: 64,
        nvmlDeviceGetPowerUsage=refuse,
    )
    ((part, found),) = Gpus(nvml).look()
    assert part == "gpu/0"
    assert found == {
        "gpu_share": 0.87,
        "gpu_memory_share": 0.75,
        "gpu_memory_used_bytes": 60e9,
        "gpu_temperature_c": 64,
    }
