"""From the facts of one run to ranked causes and an answer; pure."""
