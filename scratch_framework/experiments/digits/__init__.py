"""The paper's three networks for pairs of digits, with the framework: chapter 1 once more, from scratch.

The framework knows nothing of this package. Here torch is welcome for what is not a net: random streams, the
data that a runner hands in, TensorBoard. Pairs, initial weights and order are those of `lightning_modules`
from the same seeds, so that the curves of both lie over one another.
"""
