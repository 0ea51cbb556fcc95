"""vLLM with one whole model on the processor, beside whatever else runs: the second engine of blue/green."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import until
from tidemill.local.engine import environment
from tidemill.local.places import engine_python
from tidemill.local.ports import free_port_base
from tidemill.local.probes import http_ok
from tidemill.settings import Settings


@contextmanager
def serving(model: Path, name: str, folder: Path) -> Iterator[str]:
    """vLLM with this model under this name, in bfloat16 (its build for processors takes int8 so only); the address."""
    port = free_port_base()
    ready = http_ok(port, "/health")
    options = ["--dtype=bfloat16", "--enforce-eager", "--max-model-len=512", f"--served-model-name={name}"]
    command = [str(engine_python()), "-m", "vllm.entrypoints.openai.api_server", f"--model={model}", f"--port={port}"]
    command += ["--host=127.0.0.1", "--distributed-executor-backend=uni", "--scheduling-policy=priority"]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment(Settings()))
    try:
        until(lambda: process.poll() is not None or ready() is None, within_s=500)
        assert process.poll() is None, (folder / "engine.log").read_text()[-3000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
