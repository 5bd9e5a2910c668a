"""Studies: many runs, in processes, that can be resumed."""
