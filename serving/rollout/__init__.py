"""Rollout: takes a candidate through shadow and canary to champion, or back on proven harm.

``decide`` and ``compare`` are pure; ``controller`` fetches, calls and writes.
"""
