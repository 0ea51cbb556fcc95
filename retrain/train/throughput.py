"""How fast a training is: tokens a second, and the share of the device's peak that they take (MFU). Pure.

Counted are the multiplications by weights: 2 operations a weight forward, 2 backward, and 2 more for the gradient of
a weight that is trained (Kaplan et al. 2020). Attention, padding, embeddings and a reference model's pass are left
out, so the share is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PEAK_TFLOPS: Mapping[str, float] = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""Dense bfloat16 operations a second, in units of 10^12, by a word in the device's name (NVIDIA's data sheets)."""


def weights(model: Any) -> tuple[int, int]:
    """Frozen and trained weights of a torch model that inputs are multiplied with: all matrices but embeddings."""
    frozen = trained = 0
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "embed" not in name:
            frozen, trained = (frozen, trained + weight.numel()) if weight.requires_grad else (
                frozen + weight.numel(), trained
            )  # fmt: skip
    return frozen, trained


def operations(frozen: int, trained: int) -> float:
    """Operations for one token of a step."""
    return 4.0 * frozen + 6.0 * trained


def peak(device: str, *, bf16: bool, given: float | None) -> float | None:
    """The device's peak in 10^12 operations a second: as given, else the known one; None where nobody knows it, as for
    a processor, or for other numbers than bfloat16."""
    if given is not None or not bf16:
        return given
    return next((tflops for word, tflops in PEAK_TFLOPS.items() if word in device.split()), None)


def utilization(tokens_per_s: float, per_token: float, peak_tflops: float | None) -> float | None:
    """Share of the peak that so many tokens a second take; None where the peak is not known."""
    return tokens_per_s * per_token / (peak_tflops * 1e12) if peak_tflops else None
