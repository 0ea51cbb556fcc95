"""From an alarm to a judged version. A job's steps stand here, but for the training itself."""
