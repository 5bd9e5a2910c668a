"""Slopes that are differentiated again, as with ``create_graph=True``: torch's operations compute them."""

import torch
from torch import Tensor


def slopes_by_torch(y: Tensor, inputs: tuple[Tensor, ...], grad: Tensor) -> list[Tensor | None]:
    """Slopes that can be differentiated again.

    Args:
        y: What torch computed of the inputs.
        inputs: Of which some may need no gradient.
        grad: The slope at y.

    Returns:
        The slope at each input, None where it needs none.
    """
    wanted = [value for value in inputs if value.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True) if wanted else ())
    return [next(found) if value.requires_grad else None for value in inputs]
