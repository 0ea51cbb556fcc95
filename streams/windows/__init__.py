"""Event-time windows of one pipeline: merge, watermark, close, revise. Pure."""
