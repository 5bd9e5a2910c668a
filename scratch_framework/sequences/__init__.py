"""Layers for sequences, such as words: embedding, layer normalisation, a recurrent cell."""
