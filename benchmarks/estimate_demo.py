"""The label-free estimate on the demo's own model: does it notice by itself that the users speak in a new way?

    python -m benchmarks.estimate_demo [--base DIR] [--adapters DIR] [--json]

Calibrated on answers to the usual way of speaking, with their log-probabilities and exact matches; then asked about
mixtures of the usual and the new way, without labels: without a drift score, with the one that the stream's drift
detector gives such a batch of texts, and with every call asked for twice. Half a minute of processor time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.learning_curve import BASE, CHANGES, base_folder
from producers.language import Utterance, generate
from retrain.model.answers import BATCH, MAX_NEW_TOKENS, Answerer
from retrain.model.chat import rendered_prompt
from streams.detectors.baseline import BATCHES, Batch, joined_words, levels
from streams.estimate.bins import Features, count_bins
from streams.estimate.estimator import Estimator
from tidemill.metrics import WORD_METRICS
from tidemill.scoring import agreement, score
from tidemill.text import word_buckets

LABELLED = 600
ASKED = 300
SHARES = (0.0, 0.1, 0.3, 1.0)
"""Shares of the new way of speaking."""
Judged = tuple[Features, float]


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate_demo", description="On the demo's model.")
    parser.add_argument("--base", type=base_folder, default=BASE, help="base model folder (tidemill models makes it)")
    parser.add_argument("--adapters", type=Path, default=Path(".tidemill/adapters"), help="holds <pipeline>-v1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="only the last line, as JSON")
    asked = parser.parse_args()
    import torch  # seconds

    rows = []
    torch.manual_seed(asked.seed)
    for pipeline, way in CHANGES.items():
        answerer = Answerer(asked.base, asked.adapters / f"{pipeline}-v1")
        texts = {
            spoken: generate(pipeline, spoken, Random(f"estimate:{spoken}:{asked.seed}"), n)
            for spoken, n in (("plain", LABELLED + ASKED), (way, ASKED))
        }
        usual, new = (judged(answerer, said) for said in texts.values())
        made, twice = Estimator(), Estimator()
        for features, right in usual[:LABELLED]:
            made.label(features._replace(agreement=None), right)
            twice.label(features, right)
        for share in SHARES:
            moved = round(share * ASKED)
            calls = usual[LABELLED : LABELLED + ASKED - moved] + new[:moved]
            spoken = texts["plain"][LABELLED : LABELLED + ASKED - moved] + texts[way][:moved]
            z = drift(texts["plain"][:LABELLED], spoken)
            said = made.estimate(count_bins(features for features, _ in calls))
            warned = made.estimate(count_bins(features._replace(drift=z) for features, _ in calls))
            agreeing = twice.estimate(count_bins(features for features, _ in calls))
            row = {
                "pipeline": pipeline,
                "new_way": share,
                "measured": round(sum(right for _, right in calls) / len(calls), 3),
                "estimate": said.value,
                "low": said.low,
                "high": said.high,
                "outside": said.outside,
                "drift": z,
                "low_with_drift": warned.low,
                "agreement": sum(features.agreement or 0.0 for features, _ in calls) / len(calls),
                "estimate_twice": agreeing.value,
                "low_twice": agreeing.low,
                "high_twice": agreeing.high,
            }
            rows.append({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()})
            if not asked.json:
                print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"bench": "estimate_demo", "rows": rows}))


def drift(reference: list[Utterance], said: list[Utterance]) -> float:
    """Deviations by which the words of some texts are off, as the stream's drift detector reckons them."""
    size = len(reference) // BATCHES
    gathered = [_batch(reference[size * at : size * (at + 1)]) for at in range(BATCHES)]
    known, words = levels(gathered, WORD_METRICS), joined_words(gathered)
    now = _batch(said[-size:] if len(said) < size else Random(0).sample(said, size))
    return max(level.z(now.value(metric, words) or 0.0) for metric, level in known.items())


def _batch(said: list[Utterance]) -> Batch:
    return Batch(calls=len(said), words=word_buckets(each.text for each in said))


def judged(answerer: Answerer, said: list[Utterance]) -> list[Judged]:
    """Each answer's features and its exact match, greedily decoded as the engine does at temperature 0; a second answer
    is drawn as the gateway asks for one."""
    import torch

    model: Any = answerer._model
    tokenizer: Any = answerer._tokenizer
    found: list[Judged] = []
    for start in range(0, len(said), BATCH):
        part = said[start : start + BATCH]
        inputs = tokenizer(
            [rendered_prompt(each.text) for each in part],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            return_token_type_ids=False,
        )
        with torch.inference_mode():
            out = model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=MAX_NEW_TOKENS,
                output_scores=True,
                return_dict_in_generate=True,
            )
            drawn = model.generate(
                **inputs, do_sample=True, temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=MAX_NEW_TOKENS
            )
        new, again = (ids[:, inputs["input_ids"].shape[1] :] for ids in (out.sequences, drawn))
        logprobs = torch.stack(out.scores, 1).log_softmax(-1).gather(-1, new.unsqueeze(-1)).squeeze(-1)
        written = (new != tokenizer.pad_token_id).float()
        means = ((logprobs * written).sum(1) / written.sum(1).clamp(min=1)).tolist()
        texts, others = (tokenizer.batch_decode(ids, skip_special_tokens=True) for ids in (new, again))
        for each, text, other, mean in zip(part, texts, others, means, strict=True):
            features = Features(min(mean, 0.0), agreement("exact_match", text, other))
            found.append((features, score("exact_match", text.strip(), each.truth) or 0.0))
    return found


if __name__ == "__main__":
    main()
