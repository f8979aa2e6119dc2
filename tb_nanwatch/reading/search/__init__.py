"""The trials of one search, compared: statistics, verdict, edit; pure."""
