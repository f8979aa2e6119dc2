"""One training in the log: its records, its files."""
