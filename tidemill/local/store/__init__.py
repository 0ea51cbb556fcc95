"""The store process: ClickHouse's HTTP interface over chDB, for machines without a ClickHouse server.

Every part of tidemill speaks to a ClickHouse URL. On one machine that URL is this process; in production it is a
ClickHouse server, and nothing else changes. Start it with ``python -m tidemill.local.store --path DIR``.
"""
