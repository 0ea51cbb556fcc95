"""Change detectors on quality and on the text that comes in. State is plain data, bounded and exact."""
