"""The embedded stack: everything tidemill needs, on one machine, on loopback."""
