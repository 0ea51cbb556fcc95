"""What an answer cost, by the engine's prices."""

from __future__ import annotations

from tidemill.settings.model import EngineSettings


def cost_micros(
    engine: EngineSettings, input_tokens: int | None, cached_tokens: int | None, output_tokens: int | None
) -> int | None:
    """Millionths of a US dollar; None when a price or a count is not known (unpriced is not free).

    A price in dollars per million tokens is a price in millionths of a dollar per token.
    """
    input_price, output_price = engine.input_usd_per_million, engine.output_usd_per_million
    if input_price is None or output_price is None or input_tokens is None or output_tokens is None:
        return None
    cached = min(cached_tokens or 0, input_tokens)
    cached_price = input_price if engine.cached_usd_per_million is None else engine.cached_usd_per_million
    return round((input_tokens - cached) * input_price + cached * cached_price + output_tokens * output_price)
