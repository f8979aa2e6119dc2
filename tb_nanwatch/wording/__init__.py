"""Sentences and names that several rooms share; pure."""
