"""What sort of inputs a net is given: each sort is proven once, as a forward may branch by it."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from lightning_modules.replicas.proof import Inputs

Kind = tuple[TreeSpec, list[Any], list[Any]]  # structure, flags, and types


def kind_of(inputs: Inputs, each: bool) -> Kind:
    """What a forward may branch by, but for the size of a batch and for numbers.

    Args:
        inputs: Positional and named inputs.
        each: Whether they have a dimension of replicas.
    """
    args, kwargs = inputs
    flags = [x for x in (*args, *kwargs.values()) if isinstance(x, bool | str)]
    leaves, structure = tree_flatten(inputs)
    types = [(x.dim() - each, x.is_floating_point()) if isinstance(x, Tensor) else type(x) for x in leaves]
    return structure, flags, types
