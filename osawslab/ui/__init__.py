"""Panel and progress in a notebook."""
