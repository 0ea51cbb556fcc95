"""What Prometheus and Alertmanager need to know of a deployment: alert rules, and who is told."""
