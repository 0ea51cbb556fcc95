"""Stage 2 as a process: the Faust app around the pure folds."""
