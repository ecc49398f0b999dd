"""The chapters of the tutorial, one module each."""
