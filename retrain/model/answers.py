"""Greedy answers of a base model, with or without an adapter, for many questions at once.

    python -m retrain.model.answers --base DIR [--adapter DIR] --prompts FILE.jsonl --out FILE.jsonl

Rows in hold at least {"prompt"}; rows out are {"prompt", "answer"} in the same order. The same chat format and greedy
decoding as the engine's chat endpoint at temperature 0, so scores here foretell scores there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from retrain.model.certainty import certainty
from retrain.model.chat import rendered_prompt

MAX_NEW_TOKENS = 32
BATCH = 128


class Told(NamedTuple):
    """An answer, and the probability with which the model gave it, in [0, 1]; None: that was not measured."""

    answer: str
    certainty: float | None = None


class Answerer:
    """A loaded model, on the GPU where there is one. Costs seconds to make (imports torch); for one thread only."""

    def __init__(self, base: Path, adapter: Path | None = None, threads: int = 1) -> None:
        """FileNotFoundError names a folder that is no model or no adapter."""
        import torch
        from transformers import AutoTokenizer

        torch.set_num_threads(threads)
        self._model: Any = loaded(base, adapter)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(base, padding_side="left", local_files_only=True)
        self._device = self._model.device

    def answers(self, prompts: Sequence[str], max_new_tokens: int = MAX_NEW_TOKENS, batch: int = BATCH) -> list[str]:
        """One answer per prompt, in order, surrounding blanks removed."""
        return [told.answer for told in self.told(prompts, max_new_tokens, batch)]

    def told(self, prompts: Sequence[str], max_new_tokens: int = MAX_NEW_TOKENS, batch: int = BATCH) -> list[Told]:
        """The same answers with the model's certainty."""
        import torch

        texts = [rendered_prompt(prompt) for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        found = [Told("")] * len(texts)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            inputs = self._tokenizer(
                [texts[index] for index in chosen],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            ).to(self._device)
            watched = certainty(self._model.generation_config.eos_token_id)
            with torch.inference_mode():
                ids = self._model.generate(
                    **inputs, do_sample=False, max_new_tokens=max_new_tokens, logits_processor=[watched]
                )
            new = ids[:, inputs["input_ids"].shape[1] :]
            answers = self._tokenizer.batch_decode(new, skip_special_tokens=True)
            for index, answer, sure in zip(chosen, answers, watched.told(), strict=True):
                found[index] = Told(answer.strip(), sure)
        return found


def loaded(base: Path, adapter: Path | None = None) -> Any:
    """A model in float32 that answers, the adapter merged into it, on the GPU where there is one.

    FileNotFoundError names a folder that is no model or no adapter. Imports torch (seconds).
    """
    for folder, needed in ((base, "config.json"), (adapter, "adapter_config.json")):
        if folder is not None and not (folder / needed).is_file():
            raise FileNotFoundError(f"{folder} has no {needed}; give a model folder as base and an adapter folder")
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="float32", local_files_only=True)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


class _Asked(msgspec.Struct):
    prompt: str


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m retrain.model.answers", description="Greedy batch answers.")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--prompts", type=Path, required=True, help='JSONL rows with a field "prompt"')
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=MAX_NEW_TOKENS)
    asked = parser.parse_args()
    lines = [line for line in asked.prompts.read_bytes().splitlines() if line.strip()]
    prompts = [msgspec.json.decode(line, type=_Asked).prompt for line in lines]
    answers = Answerer(asked.base, asked.adapter, asked.threads).answers(prompts, asked.max_new_tokens)
    rows = ({"prompt": prompt, "answer": answer} for prompt, answer in zip(prompts, answers, strict=True))
    unfinished = asked.out.with_name(asked.out.name + ".unfinished")
    unfinished.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    unfinished.rename(asked.out)


if __name__ == "__main__":
    main()
