"""Evidence: for each alarm a report that sets the calls before the change beside those after it."""
