"""The fast engine on a CPU: several layers in one pass over memory, by loops that numba compiles.

To be read in this order: vectors.py (rows of numbers in registers), convolution.py and its slopes.py,
unpooled.py, random_bits.py and normalisation.py (with dropout), pooling.py; functions.py makes them functions
for autograd, steps.py finds the layers that they compute, sequential.py chooses between them and torch's
operations.
"""
