"""Data sets: which calls a job trains on and is judged by, whom they believe, frozen and kept as versions."""
