"""The step of R nets at once with torch's own means: vmap over a functional net, or batched products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from benchmarks.step_contestants import torch_criterion, torch_optimizer
from scratch_framework.experiments.disc.network import twin

if TYPE_CHECKING:
    from torch.nn import Module

    from benchmarks.step_task import Run, Task


def torch_vmap(task: Task) -> Run:
    """`torch.func`: stacked parameters, and vmap over the gradient of one net's loss."""
    recipe, count = task.recipe, task.x.shape[1]
    nets: list[Module] = [twin(recipe, replica, task.x.dtype) for replica in range(count)]
    parameters = {name: value.detach() for name, value in stack_module_state(nets)[0].items()}
    for name, value in task.state.items():
        parameters[name].copy_(value)
    criterion = torch_criterion(recipe)
    optimizer = torch_optimizer(recipe, parameters.values(), fused=True)
    batches = task.batches()

    def loss_of(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Any:
        return criterion(functional_call(nets[0], values, (x,)), y)

    gradients = vmap(grad_and_value(loss_of))

    def run() -> list[float]:
        for x, y in batches:
            grads, losses = gradients(parameters, x, y)
            for name, value in parameters.items():
                value.grad = grads[name]
            optimizer.step()
        return losses.tolist()

    return run


def torch_baddbmm(task: Task) -> Run:
    """Weights (R, in, out) written by hand: `baddbmm` forward, autograd backward."""
    recipe, names = task.recipe, list(task.state)
    weights = [task.state[name].mT.contiguous().requires_grad_() for name in names[::2]]  # (R, in, out)
    biases = [task.state[name].unsqueeze(1).clone().requires_grad_() for name in names[1::2]]  # (R, 1, out)
    activations: dict[str, Any] = {"tanh": torch.tanh, "relu": torch.relu, "none": lambda x: x}
    criterion = torch_criterion(recipe, "none")
    optimizer = torch_optimizer(recipe, [*weights, *biases], fused=True)
    batches = task.batches()

    def run() -> list[float]:
        for x, y in batches:
            optimizer.zero_grad()
            for weight, bias, (*_, name) in zip(weights, biases, recipe.layers, strict=True):
                x = activations[name](torch.baddbmm(bias, x, weight))
            losses = criterion(x, y)
            losses = losses.mean((1, 2)) if recipe.reduction == "mean" else losses.sum((1, 2))  # (R,)
            losses.sum().backward()
            optimizer.step()
        return losses.tolist()

    return run
