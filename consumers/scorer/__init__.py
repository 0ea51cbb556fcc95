"""Scorer: joins labels with every answer of their call and says how good each answer was.

Reads inference.feedback (labels and corrections), looks the answers up in ClickHouse, writes scores back to
inference.feedback. A score's id depends on the answer, the label and the metric alone, and its time is the label's.
"""
