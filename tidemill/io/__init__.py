"""Drivers: Kafka, ClickHouse, MLflow, a role's health page, secrets."""
