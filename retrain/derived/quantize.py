"""A model in 8-bit integers (W8A8, compressed-tensors), by llm-compressor in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from retrain.derived.derived import Made, derive
from retrain.model.chat import rendered_prompt
from retrain.work import Refused

PROGRAM = Path(__file__).with_name("quantizer.py")


def quantize(
    model: Path, out: Path, prompts: Sequence[str], *, python: Path, least: float, max_tokens: int, threads: int
) -> dict[str, Any]:
    """Write the quantized model to ``out`` and say how many answers are the same. Blocks for a minute or more.

    ``python`` is the environment's. Raises Refused.
    """
    if not python.exists():
        raise Refused(f"the environment for quantization is missing ({python}); run `deploy/setup.py --quantize`")

    def make(folder: Path) -> Made:
        folder.mkdir(parents=True)
        spec, told = folder / "spec.json", folder / "answers.json"
        asked = [rendered_prompt(prompt) for prompt in prompts]
        spec.write_bytes(
            msgspec.json.encode(
                {
                    "model": str(model),
                    "out": str(folder),
                    "prompts": asked,
                    "answers": str(told),
                    "max_tokens": max_tokens,
                    "threads": threads,
                }
            )
        )
        done = subprocess.run([python, PROGRAM, spec], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            last = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise Refused(f"llm-compressor ended with code {done.returncode}: {last}")
        answers = msgspec.json.decode(told.read_bytes())
        for file in (spec, told):
            file.unlink()
        return answers["before"], answers["after"]

    return derive(model, out, make, least, {"made_by": "quantize", "scheme": "W8A8"})
