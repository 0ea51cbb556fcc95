"""Trigger policies over history: what each would have started, what it would have cost and saved."""
