"""What runs in the environment of llm-compressor: quantizes a model and asks it before and after.

    .venv-quantize/bin/python retrain/derived/quantizer.py SPEC.json

The spec has `model`, `out`, `prompts` (texts to continue), `answers` (file to write), `max_tokens` and `threads`.
It stands alone: tidemill is not installed there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
BATCH = 64


def main() -> None:
    """Quantize the linear layers but the last one: weights by channel, activations by token, at run time."""
    import torch
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(spec["threads"])
    tokenizer = AutoTokenizer.from_pretrained(spec["model"], padding_side="left", local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype="float32", local_files_only=True).eval()
    before = answers(model, tokenizer, spec["prompts"], spec["max_tokens"])
    oneshot(model=model, recipe=QuantizationModifier(targets="Linear", scheme="W8A8", ignore=["lm_head"]))
    after = answers(model, tokenizer, spec["prompts"], spec["max_tokens"])
    model.save_pretrained(spec["out"], save_compressed=True)
    tokenizer.save_pretrained(spec["out"])
    Path(spec["answers"]).write_text(json.dumps({"before": before, "after": after}), encoding="utf-8")


def answers(model: Any, tokenizer: Any, prompts: list[str], max_tokens: int) -> list[str]:
    """Greedy answers, as `retrain.model.answers` gives them."""
    import torch

    found: list[str] = []
    for at in range(0, len(prompts), BATCH):
        asked = prompts[at : at + BATCH]
        inputs = tokenizer(
            asked, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
        )
        with torch.inference_mode():
            ids = model.generate(**inputs, do_sample=False, max_new_tokens=max_tokens)
        new = ids[:, inputs["input_ids"].shape[1] :]
        found += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
    return found


if __name__ == "__main__":
    main()
