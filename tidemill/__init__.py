"""The kernel: events, topics, settings and pure figures that every room shares."""
