"""Quality without labels: what the scores of unlabelled calls probably are, calibrated on labelled ones."""
