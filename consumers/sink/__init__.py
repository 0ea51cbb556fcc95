"""Carries every landing topic to its ClickHouse table: each row once, each refused message to the dead letters."""
