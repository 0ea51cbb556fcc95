"""Dead letters: sent to ``<topic>.dlq`` within limits, and read, replayed and dropped there."""
