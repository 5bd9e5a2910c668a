"""Layers for images: convolution, pooling, batch normalisation, dropout."""
