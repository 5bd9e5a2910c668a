"""The processes that work on a study."""
