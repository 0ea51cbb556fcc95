"""From an answer to the data that trained its version, and back."""
