"""The step of chapter 2's nets in the libraries that scratch_step compares."""
