"""A history of calls played again onto the topics, as fast as it was or faster."""
