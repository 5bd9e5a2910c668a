"""The step in torch, one net at a time and R at once, and in the framework from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

import scratch_framework as sf
from scratch_framework.experiments.disc.network import ACTIVATIONS, twin
from scratch_framework.experiments.disc.objective import OBJECTIVES, OPTIMIZERS, make_optimizer
from scratch_framework.fast.compiled import compile_step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.speed.disc.task import Run, Task
    from scratch_framework.experiments.disc.recipe import Recipe


def torch_criterion(recipe: Recipe, reduction: str | None = None) -> Any:
    """The recipe's loss in torch.nn."""
    return getattr(nn, OBJECTIVES[recipe.loss].criterion)(reduction=reduction or recipe.reduction)


def torch_optimizer(recipe: Recipe, parameters: Iterable[Any], fused: bool | None = None) -> Any:
    """The recipe's optimiser in torch.optim; fused, it moves all parameters in one call."""
    kind = getattr(optim, OPTIMIZERS[recipe.optimizer])
    return kind(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)


def torch_nn(task: Task, fused: bool | None = None, compile_loss: bool = False) -> Run:
    """torch.nn with autograd and torch.optim: the ordinary way, and the measure."""
    single = task.single()
    model, criterion = twin(task.recipe, 0, task.x.dtype), torch_criterion(task.recipe)
    model.load_state_dict(single.state)
    optimizer = torch_optimizer(task.recipe, model.parameters(), fused)
    batches = single.batches()

    def loss_of(x: Tensor, y: Tensor) -> Any:
        return criterion(model(x), y)

    if compile_loss:
        loss_of = torch.compile(loss_of)

    def run() -> list[float]:
        for x, y in batches:
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            optimizer.step()
        return [loss.item()]

    return run


def torch_vmap(task: Task) -> Run:
    """`torch.func`: stacked parameters, and vmap over the gradient of one net's loss."""
    recipe, count = task.recipe, task.x.shape[1]
    nets: list[nn.Module] = [twin(recipe, replica, task.x.dtype) for replica in range(count)]
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


def scratch_net(recipe: Recipe, replicas: int | None, dtype: torch.dtype) -> sf.Sequential:
    """The recipe's net in the framework from scratch; `network` knows only the form with replicas."""
    chain: list[sf.Module] = []
    for inputs, outputs, activation in recipe.layers:
        chain.append(sf.Linear(inputs, outputs, replicas=replicas, dtype=dtype))
        if activation != "none":
            chain.append(getattr(sf, ACTIVATIONS[activation])())
    return sf.Sequential(*chain)


def scratch(task: Task, replicas: int | None = None, compiled: bool = True, inference: bool = False) -> Run:
    """The framework, compiled or as it is read; with a number of replicas, that many nets in one.

    In inference mode torch skips autograd's bookkeeping, which nobody needs here.
    """
    recipe, part = task.recipe, task.single() if replicas is None else task
    criterion = getattr(sf, OBJECTIVES[recipe.loss].criterion)(reduction=recipe.reduction, replicas=replicas)
    batches = part.batches()
    with torch.inference_mode(inference):
        model = scratch_net(recipe, replicas, task.x.dtype)
        model.load_state_dict(part.state)
        optimizer = make_optimizer(sf, recipe, model.parameters(), recipe.lr, recipe.weight_decay)
        compiled_step = compile_step(model, criterion, optimizer) if compiled else None

    def plain_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        model.backward(criterion.backward())
        optimizer.step()
        return loss

    step = compiled_step or plain_step

    def run() -> list[float]:
        with torch.inference_mode(inference):
            for x, y in batches:
                loss = step(x, y)
            return loss.view(-1).tolist()

    return run
