"""What the benchmark of `replicate` compares: four ordinary nets, and several ways to train R of each."""
