"""Small programs that train a net with the framework; read them from top to bottom: xor, disc, digits."""
