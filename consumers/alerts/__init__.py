"""Alerts: threshold events, firing and resolved, go to webhooks, each in its own format."""
