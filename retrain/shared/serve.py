"""Loads one arrangement in a process of its own and lets it answer: how well, how fast, with how much memory.

    python -m retrain.shared.serve --spec SPEC.json

Greedy answers in float32 by transformers; adapters stay unmerged beside their base, as an engine that serves several
holds them. First each pipeline's questions one at a time, then all pipelines' in mixed batches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from retrain.datasets.rows import Row
from retrain.model.chat import rendered_prompt
from retrain.shared.figures import Answering, Arrangement, Serving
from retrain.snapshot import read_rows
from retrain.work import run_work, say
from tidemill.scoring import score

_MB = 2**20


class ServeSpec(Struct, frozen=True, kw_only=True):
    """One arrangement. ``parts`` are the folders of adapters or models, ``tests`` files of rows, by pipeline."""

    arrangement: Arrangement
    base: str
    parts: dict[str, str]
    tests: dict[str, str]
    metrics: dict[str, str]
    max_tokens: dict[str, int]
    batch: int = 16
    threads: int = 1


def serve(spec: ServeSpec) -> dict[str, Any]:
    """A ``Serving`` as plain values. Blocks; imports torch."""
    import peft  # noqa: F401  before memory is looked at
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, logging

    logging.set_verbosity_error()
    torch.set_num_threads(spec.threads)
    AutoModelForCausalLM._model_mapping[type(AutoConfig.from_pretrained(spec.base))]  # the code is there before
    tokenizer = AutoTokenizer.from_pretrained(spec.base, padding_side="left", local_files_only=True)
    before = _resident_mb()
    say(note=f"loading: {spec.arrangement}")
    held = (_Shared if spec.arrangement == "shared" else _Separate)(spec, tokenizer)
    tests = {name: read_rows(Path(file)) for name, file in spec.tests.items()}
    for name, rows in tests.items():
        held.answers([(name, rows[0].prompt)])  # what is built at the first answer is not timed
    pipelines = {name: _one_at_a_time(held, name, rows, spec.metrics[name]) for name, rows in tests.items()}
    resident = _resident_mb() - before
    say(note=f"mixed traffic: {spec.arrangement}")
    per_s, cpu_ms = _mixed(held, tests, spec.batch)
    made = Serving(
        weights_mb=_weights_mb(spec),
        resident_mb=resident,
        mixed_per_s=per_s,
        mixed_cpu_ms=cpu_ms,
        pipelines=pipelines,
    )
    found: dict[str, Any] = msgspec.to_builtins(made)
    return found


class _Held:
    """What answers: ``answers`` takes (pipeline, question) pairs, a batch of them at once."""

    def __init__(self, spec: ServeSpec, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max(spec.max_tokens.values())

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        raise NotImplementedError

    def _generated(self, model: Any, prompts: Sequence[str], **told: Any) -> list[str]:
        import torch

        texts = [rendered_prompt(prompt) for prompt in prompts]
        options = {"padding": True, "add_special_tokens": False, "return_token_type_ids": False}
        inputs = self._tokenizer(texts, return_tensors="pt", **options)
        with torch.inference_mode():
            ids = model.generate(**inputs, do_sample=False, max_new_tokens=self._max_tokens, **told)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [each.strip() for each in self._tokenizer.batch_decode(new, skip_special_tokens=True)]


class _Shared(_Held):
    """One base with every pipeline's adapter; a batch may hold several pipelines' questions."""

    def __init__(self, spec: ServeSpec, tokenizer: Any) -> None:
        super().__init__(spec, tokenizer)
        from peft import PeftModel

        names = list(spec.parts)
        self._model = PeftModel.from_pretrained(_model(spec.base), spec.parts[names[0]], adapter_name=names[0])
        for name in names[1:]:
            self._model.load_adapter(spec.parts[name], adapter_name=name)
        self._model.eval()

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        names = [name for name, _ in asked]
        if len(set(names)) == 1:
            self._model.set_adapter(names[0])
            return self._generated(self._model, [prompt for _, prompt in asked])
        return self._generated(self._model, [prompt for _, prompt in asked], adapter_names=names)


class _Separate(_Held):
    """A model for each pipeline; a batch is parted among them."""

    def __init__(self, spec: ServeSpec, tokenizer: Any) -> None:
        super().__init__(spec, tokenizer)
        self._models = {name: _model(folder) for name, folder in spec.parts.items()}

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        found = [""] * len(asked)
        for name, model in self._models.items():
            mine = [place for place, (each, _) in enumerate(asked) if each == name]
            if mine:
                for place, answer in zip(mine, self._generated(model, [asked[at][1] for at in mine]), strict=True):
                    found[place] = answer
        return found


def _model(folder: str) -> Any:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)
    return model.eval()


def _one_at_a_time(held: _Held, name: str, rows: Sequence[Row], metric: str) -> Answering:
    took, scores, cpu_begun = [], [], time.process_time()
    for done, row in enumerate(rows):
        begun = time.perf_counter()
        answer = held.answers([(name, row.prompt)])[0]
        took.append(1_000 * (time.perf_counter() - begun))
        scores.append(score(metric, answer, row.completion))
        if done % 20 == 0:
            say(step=done, of=len(rows), note=f"answering: {name}")
    cpu_ms = 1_000 * (time.process_time() - cpu_begun) / len(rows)
    took.sort()
    return Answering(
        scores=scores,
        p50_ms=took[len(took) // 2],
        p95_ms=took[min(len(took) - 1, len(took) * 95 // 100)],
        cpu_ms=cpu_ms,
    )


def _mixed(held: _Held, tests: Mapping[str, Sequence[Row]], batch: int) -> tuple[float, float]:
    """Answers a second, and CPU milliseconds an answer, of questions that come from all pipelines in turn."""
    turns = zip(*([(name, row.prompt) for row in rows] for name, rows in tests.items()), strict=False)
    asked = [each for turn in turns for each in turn]
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for start in range(0, len(asked), batch):
        held.answers(asked[start : start + batch])
    return len(asked) / (time.perf_counter() - begun), 1_000 * (time.process_time() - cpu_begun) / len(asked)


def _weights_mb(spec: ServeSpec) -> float:
    folders = [*spec.parts.values(), *([spec.base] if spec.arrangement == "shared" else [])]
    return sum(weights_mb(Path(folder)) for folder in folders)


def weights_mb(folder: Path) -> float:
    """Size of a folder's weights."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / _MB


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


if __name__ == "__main__":
    run_work("shared.serve", ServeSpec, serve, time.sleep)
