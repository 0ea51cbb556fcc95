"""The embedded engine: vLLM on the CPU, in an environment of its own, loopback only.

Its adapter routes are open to whoever reaches the port, so the port is on loopback and clients go through the gateway.
"""

from __future__ import annotations

import json
from pathlib import Path

from tidemill.errors import Stop
from tidemill.local.places import ENGINE_PYTHON_VARIABLE, engine_python
from tidemill.settings import Settings

MAX_MODEL_TOKENS = 512
MAX_SEQUENCES = 32
LIVE_ADAPTERS = 4
"""Two pipelines with a champion and a candidate each answer side by side."""


def embedded_name(settings: Settings) -> str | None:
    """Name of the engine the embedded stack has to run: the first vLLM without a URL; None when all run elsewhere."""
    return next((name for name, e in settings.engines.items() if e.kind == "vllm" and not e.url), None)


def argv(settings: Settings, python: Path | None = None) -> list[str]:
    """The engine's command line. Raises Stop when its environment, or what to serve, is missing."""
    name = embedded_name(settings)
    if name is None:
        raise Stop("no engine in the settings is embedded: each has a url or is a provider's")
    engine = settings.engines[name]
    if not engine.base_dir:
        raise Stop(f"engines.{name}.base_dir is empty; name the folder of the model to serve")
    python = python or engine_python()
    if not python.exists():
        raise Stop(f"the engine's environment is missing ({python}); run `make setup` or set {ENGINE_PYTHON_VARIABLE}")
    options: dict[str, object] = {
        "model": settings.resolve(engine.base_dir),
        "served-model-name": engine.base_model,
        "host": "127.0.0.1",
        "port": settings.port("engine"),
        "dtype": "float32",
        "max-model-len": MAX_MODEL_TOKENS,
        "max-num-seqs": MAX_SEQUENCES,
        "max-loras": LIVE_ADAPTERS,
        "max-cpu-loras": 2 * LIVE_ADAPTERS,
        "max-lora-rank": adapter_rank(settings, name),
        "distributed-executor-backend": "uni",
        "scheduling-policy": "priority",
        "shutdown-timeout": 5,
        "uvicorn-log-level": "warning",
    }
    flags = ["enforce-eager", "enable-lora", "disable-uvicorn-access-log", "disable-fastapi-docs"]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    command += [f"--{flag}={value}" for flag, value in options.items()] + [f"--{flag}" for flag in flags]
    if champions := champion_adapters(settings, name):
        modules = (json.dumps({"name": version, "path": str(path)}) for version, path in champions.items())
        command += ["--lora-modules", *modules]
    return command


def adapter_rank(settings: Settings, engine: str) -> int:
    """Room for the largest adapter its pipelines train: on a CPU every adapter costs as much as the room, used or not.

    Rounded up to what vLLM takes (8, 16, 32 …); first champions have rank 16.
    """
    wanted = max([16, *(p.retrain.rank for p in settings.pipelines.values() if p.engine == engine)])
    return next(rank for rank in (16, 32, 64, 128, 256) if rank >= wanted)


def champion_adapters(settings: Settings, engine: str) -> dict[str, Path]:
    """First champions to load at start, by version: those of this engine's pipelines whose folder is there."""
    found = {}
    for pipeline in settings.pipelines.values():
        if pipeline.engine == engine and pipeline.champion_adapter:
            folder = settings.resolve(pipeline.champion_adapter)
            if (folder / "adapter_config.json").is_file():
                found[pipeline.champion] = folder
    return found


def environment(settings: Settings) -> dict[str, str]:
    """Environment of the engine: one process, no network, no usage statistics, quiet logs, adapters at run time."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(settings.local.engine_kv_cache_gb),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": str(settings.local.engine_threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # With "uni" above: model and scheduler in one process. Apart, each burns processor time waiting for the other
        # (15 calls/s on 1.4 cores then, 22 on 0.9 together).
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TOKENIZERS_PARALLELISM": "false",
        # Log-probabilities would be counted by a kernel compiled at their first call: seconds, and a C++ compiler.
        "TORCH_COMPILE_DISABLE": "1",
    }
