"""The real OpenStack: parts that are installed in order, its API, and what the lab makes in it."""
