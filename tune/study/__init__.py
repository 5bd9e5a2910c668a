"""A study: its definition, its storage, and the queue of its trials."""
