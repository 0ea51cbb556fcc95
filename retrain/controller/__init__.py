"""The retraining controller: alarms in, jobs out, one pure step at a time."""
