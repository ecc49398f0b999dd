"""Captures and tables of what the network is and does."""
