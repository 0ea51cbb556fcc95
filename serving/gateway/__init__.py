"""The gateway: OpenAI's interface, sticky routes, shadows, and a spool so that no answered call lacks its row."""
