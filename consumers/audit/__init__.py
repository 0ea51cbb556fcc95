"""Comparing what should be equal: messages and rows, stream figures and raw rows; and watching the watchers."""
