"""The gate: what a candidate must show before it sees traffic, and how that is told."""
