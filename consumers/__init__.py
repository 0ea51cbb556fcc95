"""Roles that read topics to their end: rows, scores, alerts, evidence, what is counted again."""
