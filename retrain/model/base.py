"""Train the base model from scratch.

    python -m retrain.model.base --corpus ROWS.jsonl --out DIR [--seed 0 --steps 450 --batch 32 --threads 2]

Rows are {"pipeline", "prompt", "completion"}; a folder of .jsonl files works too. DIR becomes a Hugging Face model
folder (safetensors, tokenizer with chat template, generation config) that vLLM serves as it is; it appears
only when complete. stdout carries JSON progress lines, the last one {"done": true, ...}.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from retrain.model.batches import batches, padded
from retrain.model.examples import Example, encode, ids_with, read_rows
from retrain.model.progress import Progress, say

if TYPE_CHECKING:
    import torch

STEPS = 450
BATCH = 32
PEAK_RATE = 2e-3
MAX_LENGTH = 192
PROMPT_SHARE = 0.25
"""Share of the question tokens that are predicted, too."""
PROMPT_WEIGHT = 0.1
"""Weight of predicting the question itself; it teaches the language that later adapters build on."""


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m retrain.model.base", description="Train the tiny base model.")
    parser.add_argument("--corpus", type=Path, required=True, help="JSONL file or folder of them")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    train_base(asked.corpus, asked.out, asked.seed, asked.steps, asked.batch, asked.threads)


def train_base(
    corpus: Path, out: Path, seed: int = 0, steps: int = STEPS, batch: int = BATCH, threads: int = 2
) -> None:
    """Tokenizer, then model. Overwrites `out` at the end; same corpus, seed and threads give the same weights."""
    import torch

    from retrain.model.architecture import build
    from retrain.model.tokenizer import train_tokenizer

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    started = time.monotonic()
    rows = read_rows(corpus)
    tokenizer = train_tokenizer(text for row in rows for text in (row.prompt, row.completion))
    examples = encode(rows, ids_with(tokenizer), MAX_LENGTH).examples
    model = build(tokenizer)
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    plain = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.1)
    progress = Progress(steps)
    lengths = [len(each.ids) for each in examples]
    model.train()
    loss_value = float("nan")
    for step, chosen in enumerate(batches(lengths, batch, steps, Random(seed)), start=1):
        loss = _loss(model, [examples[index] for index in chosen], tokenizer.pad_token_id)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        loss_value = loss.item()
        progress.step(step, loss_value)
    _save(model, tokenizer, out)
    seconds = round(time.monotonic() - started, 1)
    parameters = sum(weight.numel() for weight in model.parameters())
    counts = {"rows": len(examples), "parameters": parameters}
    say({"done": True, "loss": round(loss_value, 4), "seconds": seconds, **counts})


def _loss(model: Any, chosen: list[Example], pad: int) -> torch.Tensor:
    """Mean loss over answer tokens plus PROMPT_WEIGHT times the mean over some question tokens.

    Only the chosen positions reach the vocabulary layer, which would otherwise be half of the work.
    """
    import torch
    from torch.nn.functional import cross_entropy

    ids = torch.tensor(padded([each.ids for each in chosen], pad))
    answer = torch.tensor(padded([each.completion_mask() for each in chosen], 0))[:, 1:].bool()
    filled = torch.tensor(padded([[1] * len(each.ids) for each in chosen], 0))
    question = filled[:, 1:].bool() & ~answer & (torch.rand(answer.shape) < PROMPT_SHARE)
    hidden = model.model(input_ids=ids, attention_mask=filled, use_cache=False).last_hidden_state[:, :-1]
    picked = answer | question
    losses = cross_entropy(model.lm_head(hidden[picked]), ids[:, 1:][picked], reduction="none")
    of_answer = answer[picked]
    loss = losses[of_answer].mean()
    if not of_answer.all():
        loss = loss + PROMPT_WEIGHT * losses[~of_answer].mean()
    return loss


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    model.eval()
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished, safe_serialization=True)
    tokenizer.save_pretrained(unfinished)
    shutil.rmtree(out, ignore_errors=True)
    unfinished.rename(out)


if __name__ == "__main__":
    main()
