"""Dead letters: sent to ``<topic>.dlq`` within limits, and read, replayed and dropped there."""

from consumers.deadletters.bury import DeadLetters, Rejected

__all__ = ["DeadLetters", "Rejected"]
