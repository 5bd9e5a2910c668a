"""R trainings of a network as one tensor program."""
