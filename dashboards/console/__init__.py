"""The web console: pipelines, alarms and why they fired, turns of the wheel, hosts. Reads alone, but for approvals."""
