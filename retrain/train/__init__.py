"""Adapter training, in a process of its own."""
