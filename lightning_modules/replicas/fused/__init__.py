"""The fast engine on a CPU: several layers in one pass over memory, by loops that numba compiles.

The loops are in loops/. Five files each make of one kind of layer a function for autograd, and say for which
layers it is: pooled_convolution.py, unpooled_convolution.py, normalisation.py (with block.py), product.py and
pool.py. steps.py finds them in a net; sequential.py chooses between them and torch's operations.
following.py, with deferred.py, notes.py and functions.py, finds them in a net's own forward.
"""
