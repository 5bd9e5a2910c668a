"""The loops that numba compiles, over flat arrays whose shapes were checked before.

To be read in this order: vectors.py (rows of numbers in registers) and places.py (where they lie in
memory), convolution.py and its slopes.py, unpooled.py, random_bits.py and normalisation.py (with dropout),
pooled_normalisation.py, max_pool.py; numba_cache.py keeps what is compiled.
"""
