"""Commands that print the figures in the docs."""
