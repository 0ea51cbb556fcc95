"""``tidemill train PIPELINE``: retrain by a person's order."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tidemill.cli import context
from tidemill.clock import SystemClock
from tidemill.ids import derived_id


def train(pipeline: Annotated[str, typer.Argument(help="A pipeline of the settings.")]) -> None:
    """Order a retraining of a pipeline; the retrain role takes it from there.

    Example: tidemill train schedule
    """
    from retrain.orders import Order, place

    settings = context.settings()
    context.needs_pipeline(settings, pipeline)
    context.needs_stack(settings, ", so nobody would take the order")
    now_ms = SystemClock().now_ms()
    order = Order(order_id=derived_id("order", pipeline, now_ms, os.getpid()), pipeline=pipeline, time_ms=now_ms)
    place(settings, order)
    typer.echo(
        f"order {order.order_id[:8]} placed; the retrain role on this data_dir takes it within a second; "
        "watch it in the console, and a rollout that comes of it with `tidemill rollout status`"
    )
