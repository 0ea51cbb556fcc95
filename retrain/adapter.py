"""What an adapter folder holds, checked without loading it: safetensors only, right rank, finite, bound to its base."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RESULT = "result.json"
ALLOWED = frozenset({WEIGHTS, CONFIG, RESULT, "digest.txt"})
MAX_BYTES = 2**31
_MAX_HEADER = 2**24
_WIDTH = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}
_BASE_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def file_digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises OSError."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def base_digest(folder: Path) -> str:
    """What names a base model: SHA-256 over its configuration, tokenizer and weights. Raises FileNotFoundError."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"{folder} holds no *.safetensors: it is no base model")
    total = hashlib.sha256()
    for file in [*(folder / name for name in _BASE_FILES if (folder / name).is_file()), *weights]:
        total.update(f"{file.name}\x1f{file_digest(file)}\n".encode())
    return total.hexdigest()


def problems(folder: Path, *, digest: str, rank: int, base: str = "") -> list[str]:
    """What is wrong with an adapter, in words; empty when nothing is.

    ``digest`` is what the training wrote; ``base`` the digest of the base that it must be bound to (empty: that is not
    looked at).
    """
    found = [f"unexpected file {item.name}" for item in sorted(folder.iterdir()) if item.name not in ALLOWED]
    weights, config = folder / WEIGHTS, folder / CONFIG
    if not weights.is_file() or not config.is_file():
        return [*found, f"{WEIGHTS} or {CONFIG} is missing"]
    if weights.stat().st_size > MAX_BYTES:
        return [*found, f"{WEIGHTS} has {weights.stat().st_size} bytes, more than {MAX_BYTES}"]
    if file_digest(weights) != digest:
        found.append("the weights are not those the training wrote (sha256 differs)")
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
        if said.get("peft_type") != "LORA" or said.get("r") != rank:
            found.append(f"{CONFIG} says {said.get('peft_type')} of rank {said.get('r')}, expected LORA of {rank}")
        found += _binding_problems(folder / RESULT, said, base)
        found += _tensor_problems(weights, rank)
    except (ValueError, KeyError, TypeError, OSError) as error:
        found.append(f"cannot be read: {error}")
    return found


def _binding_problems(result: Path, said: dict[str, Any], base: str) -> list[str]:
    """Whether it is an adapter and nothing more, of the base by whose digest its training bound it, if it did."""
    found = []
    if said.get("modules_to_save"):
        found.append(f"{CONFIG} saves whole modules {said['modules_to_save']}: that is no adapter alone")
    bound = json.loads(result.read_text(encoding="utf-8")).get("base_digest") if result.is_file() else None
    if base and bound and bound != base:
        found.append(f"{RESULT} binds it to the base {bound[:12]}, expected {base[:12]}")
    return found


def _tensor_problems(weights: Path, rank: int) -> list[str]:
    found: list[str] = []
    whole = weights.stat().st_size
    with weights.open("rb") as source:
        size = int.from_bytes(source.read(8), "little")
        if not 2 <= size <= _MAX_HEADER:
            return [f"{WEIGHTS} is no safetensors file (header of {size} bytes)"]
        header: dict[str, Any] = json.loads(source.read(size))
        tensors = {name: spec for name, spec in header.items() if name != "__metadata__"}
        if not tensors:
            return [f"{WEIGHTS} holds no tensors"]
        if fault := _layout_fault([spec["data_offsets"] for spec in tensors.values()], whole - 8 - size):
            return [f"{WEIGHTS}: {fault}"]
        for name, spec in sorted(tensors.items()):
            start, end = spec["data_offsets"]
            source.seek(8 + size + start)
            data = source.read(end - start)
            found += _one(name, spec["dtype"], spec["shape"], data, rank)
    return found


def _layout_fault(offsets: Iterable[Sequence[int]], size: int) -> str:
    """What is wrong with how tensors lie in ``size`` bytes: end to end, from the first byte to the last."""
    at = 0
    for start, end in sorted(tuple(each) for each in offsets):
        if start != at or end < start:
            return f"tensors lie from byte {start} to {end}, expected from {at}"
        at = end
    return "" if at == size else f"{size} bytes of tensors, {at} of them spoken for"


def _one(name: str, dtype: str, shape: list[int], data: bytes, rank: int) -> list[str]:
    side = 0 if ".lora_A." in name else 1 if ".lora_B." in name else None
    if side is None:
        return [f"tensor {name} is no LoRA weight"]
    if dtype not in _WIDTH or len(shape) != 2 or shape[side] != rank:
        return [f"tensor {name} is {dtype} of shape {shape}, expected rank {rank}"]
    if len(data) != shape[0] * shape[1] * _WIDTH[dtype]:
        return [f"tensor {name} is cut short"]
    if dtype == "BF16":
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(data, {"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype])
    return [] if bool(np.isfinite(values).all()) else [f"tensor {name} holds values that are not finite"]
