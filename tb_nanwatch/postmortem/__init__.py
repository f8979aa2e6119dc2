"""One failing step, kept and run again slowly: which operation, on which line."""
