"""Alerts: threshold events, firing and resolved, go to webhooks in Alertmanager's format."""
