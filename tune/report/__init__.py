"""What a study prints, writes and draws."""
