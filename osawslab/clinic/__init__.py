"""Diagnosis: why a path fails, read only."""
