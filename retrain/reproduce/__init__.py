"""A version trained again from what its job left, and what differs."""
