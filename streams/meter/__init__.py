"""Stage 1 of the stream: folds raw inference events into mergeable partials, one per frozen range and pipeline."""
