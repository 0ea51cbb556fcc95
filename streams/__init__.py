"""Stream processors: the meter (stage 1) folds raw events, the Faust app (stage 2) judges them."""
