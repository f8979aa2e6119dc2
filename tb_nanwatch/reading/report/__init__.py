"""The report: as records, in a terminal, as a page."""
