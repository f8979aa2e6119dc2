"""Two runs or two searches, beside each other."""
