"""Tables and plots of errors: many trainings, compared over the same seeds."""
