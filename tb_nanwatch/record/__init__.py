"""What is in the log: the records, their bytes, their tags."""
