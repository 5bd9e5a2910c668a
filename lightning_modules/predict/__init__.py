"""Which digit is larger, on pictures of a user's own."""
