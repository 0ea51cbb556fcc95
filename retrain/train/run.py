"""Train one candidate by its recipe, with TRL and PEFT.

    python -m retrain.train.run --spec SPEC.json

The spec is a `TrainingSpec`. stdout carries JSON progress lines about once a second; `out` gets the weights
(safetensors) and result.json, and appears only when complete. Same spec, same machine: same weights, byte for byte.
What cannot be taught is refused: result.json then says {"refused": why}, without weights.
SIGTERM ends the process with code 143 and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from retrain.adapter import file_digest
from retrain.model.progress import say
from retrain.train.rows import Untrainable
from retrain.train.spec import ADAPTER_FILE, MODEL_FILE, RESULT_FILE, TrainingResult, TrainingSpec, read_spec
from tidemill.io.modes import let_engines_read

_TERMINATED = 128 + signal.SIGTERM
REPORTERS = ("wandb",)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m retrain.train.run", description="Train one candidate.")
    parser.add_argument("--spec", type=Path, required=True, help="JSON file with the fields of TrainingSpec")
    spec = read_spec(parser.parse_args().spec)
    signal.signal(signal.SIGTERM, _terminate)
    os.environ["OMP_NUM_THREADS"] = str(spec.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    out = Path(spec.out)
    unfinished = out.with_name(out.name + ".unfinished")
    try:
        try:
            train(spec, unfinished)
        except Untrainable as error:
            refuse(unfinished, str(error))
        let_engines_read(unfinished)
        shutil.rmtree(out, ignore_errors=True)
        unfinished.rename(out)
        if spec.checkpoint:
            Path(spec.checkpoint).unlink(missing_ok=True)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def train(spec: TrainingSpec, out: Path) -> TrainingResult:
    """Train and write weights and result into `out`. Blocks for the whole training; imports take seconds.

    Raises Untrainable.
    """
    started = time.monotonic()
    _check_reporter(spec.report_to)
    say({"stage": "loading"})
    import datasets
    import torch
    from transformers import AutoTokenizer, logging, set_seed

    from retrain.train.recipes import prepared

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    torch.set_num_threads(spec.threads)
    set_seed(spec.seed)
    tokenizer = AutoTokenizer.from_pretrained(spec.base, local_files_only=True)
    made = prepared(spec, tokenizer, out)
    trainer, cpu_begun = made.trainer, time.process_time()
    trainer.train()
    cpu_seconds = time.process_time() - cpu_begun
    weights = save(trainer.model, tokenizer, out)
    losses = trainer.losses[-max(1, len(trainer.losses) // 10) :]
    result = TrainingResult(
        kind=spec.kind,
        loss=round(sum(losses) / len(losses), 5),
        steps=len(trainer.losses),
        rows=made.rows,
        too_long_left_out=made.too_long,
        empty_left_out=made.empty,
        tokens=trainer.tokens,
        seconds=round(trainer.pace.seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        total_seconds=round(time.monotonic() - started, 2),
        tokens_per_s=round(trainer.pace.tokens_per_s, 1),
        mfu=trainer.pace.mfu,
        adapter_sha256=file_digest(weights),
        stopped_by="steps" if len(trainer.losses) == spec.steps else "time",
        known_rows=made.known_rows,
        lr=trainer.spec.lr,
        keep_weight=trainer.spec.keep_weight,
        trials=made.trials,
    )
    (out / RESULT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    say({"done": True, **msgspec.to_builtins(result)})
    return result


def refuse(out: Path, reason: str) -> None:
    """Write a result that says why nothing was trained: the job ends with these words and is not tried again."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / RESULT_FILE).write_bytes(msgspec.json.encode({"refused": reason}) + b"\n")
    say({"refused": reason})


def save(model: Any, tokenizer: Any, out: Path) -> Path:
    """Write an adapter, without the base's folder name (adapters move between machines), or a whole model with its
    tokenizer; give back the file of weights."""
    shutil.rmtree(out, ignore_errors=True)
    if not hasattr(model, "peft_config"):
        model.save_pretrained(out, safe_serialization=True, max_shard_size="1TB")
        tokenizer.save_pretrained(out)
        return out / MODEL_FILE
    model.save_pretrained(out, safe_serialization=True, selected_adapters=["default"], save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "base"
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return out / ADAPTER_FILE


def _check_reporter(name: str) -> None:
    if name and (name not in REPORTERS or find_spec(name) is None):
        raise Untrainable(
            f"retrain.recipe.report_to: {name!r} is not installed beside the trainer; install it (pip install {name}), "
            "or leave report_to out: MLflow has the figures in any case"
        )


def _terminate(signum: int, frame: FrameType | None) -> None:
    say({"stopped": "SIGTERM"})
    raise SystemExit(_TERMINATED)


if __name__ == "__main__":
    main()
