"""Train one LoRA adapter with TRL and PEFT.

    python -m retrain.train.lora --spec SPEC.json

The spec is a `LoraSpec`. stdout carries JSON progress lines about once a second; `out` gets the adapter (safetensors)
and result.json, and appears only when complete. Same spec, same machine: same adapter bytes.
A data set with too few rows that can be taught is refused: result.json then says {"refused": why}, without an adapter.
SIGTERM ends the process with code 143 and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from retrain.model.progress import Progress, say
from retrain.train.rows import TooFewRows, checked
from retrain.train.spec import ADAPTER_FILE, RESULT_FILE, LoraResult, LoraSpec, read_spec
from tidemill.io.modes import let_engines_read

if TYPE_CHECKING:
    from retrain.model.examples import Example
    from retrain.train.keep import Known

MAX_LENGTH = 192
_TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m retrain.train.lora", description="Train one LoRA adapter.")
    parser.add_argument("--spec", type=Path, required=True, help="JSON file with the fields of LoraSpec")
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
        except TooFewRows as error:
            refuse(unfinished, str(error))
        let_engines_read(unfinished)
        shutil.rmtree(out, ignore_errors=True)
        unfinished.rename(out)
        if spec.checkpoint:
            Path(spec.checkpoint).unlink(missing_ok=True)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def train(spec: LoraSpec, out: Path) -> LoraResult:
    """Train and write adapter and result into `out`. Blocks for the whole training; imports take seconds.

    Raises TooFewRows.
    """
    started = time.monotonic()
    say({"stage": "loading"})
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging, set_seed

    from retrain.model.examples import encode, ids_with, read_rows
    from retrain.train.trainer import LoraTrainer, adapted, arguments

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(spec.threads)
    set_seed(spec.seed)
    tokenizer = AutoTokenizer.from_pretrained(spec.base, local_files_only=True)
    encoded = checked(encode(read_rows(Path(spec.dataset)), ids_with(tokenizer), MAX_LENGTH), spec.min_rows, MAX_LENGTH)
    examples = encoded.examples
    begun, cpu_begun = time.monotonic(), time.process_time()
    known = _known(spec, examples, tokenizer.pad_token_id) if spec.keep_weight else None
    model = AutoModelForCausalLM.from_pretrained(spec.base, dtype="float32", local_files_only=True)
    trainer = LoraTrainer(
        spec=spec,
        lengths=[len(each.ids) for each in examples],
        progress=Progress(spec.steps),
        known=known,
        model=adapted(model, spec),
        args=arguments(spec, out),
        train_dataset=_dataset(examples),
        processing_class=tokenizer,
    )
    trainer.train()
    seconds, cpu_seconds = trainer.before_s + time.monotonic() - begun, time.process_time() - cpu_begun
    save(trainer.model, out)
    losses = trainer.losses[-max(1, len(trainer.losses) // 10) :]
    result = LoraResult(
        loss=round(sum(losses) / len(losses), 5),
        steps=len(trainer.losses),
        rows=len(examples),
        too_long_left_out=encoded.too_long,
        empty_left_out=encoded.empty,
        tokens=trainer.tokens,
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        total_seconds=round(time.monotonic() - started, 2),
        tokens_per_s=round(trainer.tokens / seconds, 1),
        adapter_sha256=hashlib.sha256((out / ADAPTER_FILE).read_bytes()).hexdigest(),
        stopped_by="steps" if len(trainer.losses) == spec.steps else "time",
        known_rows=known.right if known else None,
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


def save(model: Any, out: Path) -> None:
    """Write adapter weights and configuration, without the base's folder name: adapters move between machines."""
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out, safe_serialization=True)
    (out / "README.md").unlink(missing_ok=True)
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "base"
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _dataset(examples: list[Example]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [list(each.ids) for each in examples],
            "labels": [each.labels() for each in examples],
            "row": list(range(len(examples))),
        }
    )


def _known(spec: LoraSpec, examples: list[Example], pad: int) -> Known:
    """What the champion says to the rows; its weights are let go of before the candidate's are loaded."""
    from retrain.model.answers import loaded
    from retrain.train.keep import known_by

    say({"stage": "asking the champion"})
    return known_by(loaded(Path(spec.base), Path(spec.champion) if spec.champion else None), examples, pad)


def _terminate(signum: int, frame: FrameType | None) -> None:
    say({"stopped": "SIGTERM"})
    raise SystemExit(_TERMINATED)


if __name__ == "__main__":
    main()
