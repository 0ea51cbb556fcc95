"""Grafana's dashboards, made from code and pushed."""
