"""What is shown in the docs: pictures, and the notebook with its outputs."""
