"""What ``tidemill bench NAME`` measures, beside peers, and the pages of docs/ that are made of it."""
