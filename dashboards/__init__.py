"""What people look at: the console, Grafana's dashboards, Prometheus' rules."""
