"""What the framework learns: the disc and the digits."""
