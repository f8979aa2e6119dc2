"""What is in the log, read back."""
