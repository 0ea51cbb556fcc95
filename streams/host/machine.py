"""Figures of the machine and of its GPUs: psutil and NVML. The only place that knows either.

In a container the processor's and the memory's figures are the whole machine's. Where there is no GPU, no NVIDIA
driver or no NVML binding (`nvidia-ml-py`), there are no GPU figures; the log says so once.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tidemill.metrics import HostMetric

log = logging.getLogger(__name__)
Figures = dict[HostMetric, float]


class Machine:
    """The machine itself, and the file system of ``data_dir`` (made if it is missing)."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._data_dir = str(data_dir)
        psutil.cpu_percent()  # from here on

    def look(self) -> Figures:
        """Its figures now; processor time since the last look."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(self._data_dir)
        return {
            "cpu_share": psutil.cpu_percent() / 100,
            "memory_share": 1 - memory.available / memory.total,
            "memory_free_bytes": float(memory.available),
            "disk_share": disk.percent / 100,
            "disk_free_bytes": float(disk.free),
        }


class Gpus:
    """The machine's GPUs, by NVML; none where NVML cannot be had."""

    def __init__(self, nvml: Any = None) -> None:
        """``nvml``: the binding; by default `pynvml`, if it is installed."""
        self._nvml: Any = nvml or _binding()
        self._handles: list[Any] = []
        if self._nvml is None:
            log.info("no figures of GPUs: package nvidia-ml-py is not installed")
            return
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(at) for at in range(count)]
            log.info("%d GPUs are watched", count)
        except self._nvml.NVMLError as error:
            log.info("no figures of GPUs: %s", error)

    def look(self) -> Iterator[tuple[str, Figures]]:
        """Each GPU's part (``gpu/0``) and figures; what a device does not tell is left out."""
        for at, handle in enumerate(self._handles):
            yield f"gpu/{at}", self._of(handle)

    def _of(self, handle: Any) -> Figures:
        nvml, found = self._nvml, Figures()
        used = self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        memory = self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        heat = self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        power = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        if used is not None:
            found["gpu_share"] = used.gpu / 100
        if memory is not None and memory.total:
            found["gpu_memory_share"] = memory.used / memory.total
            found["gpu_memory_used_bytes"] = float(memory.used)
        if heat is not None:
            found["gpu_temperature_c"] = float(heat)
        if power is not None:
            found["gpu_power_w"] = power / 1000
        return found

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._nvml.NVMLError:
            return None  # not supported by this device, or it has fallen off the bus


def _binding() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None
