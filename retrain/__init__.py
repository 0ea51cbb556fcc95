"""From an alarm to a judged version. A job's steps stand here: snapshot, train, evaluate, parity, register."""
