"""The command ``tidemill``, a file a subcommand."""
