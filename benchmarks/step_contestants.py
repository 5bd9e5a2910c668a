"""The step in torch.nn, in numpy by hand, and in the framework from scratch, plain and compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn, optim

import scratch_framework as sf
from benchmarks.step_task import Run, Task, scratch_net
from scratch_framework.experiments.disc.network import twin
from scratch_framework.experiments.disc.objective import OBJECTIVES, OPTIMIZERS, make_optimizer
from scratch_framework.fast.compiled import compile_step

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> Any:
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


def numpy_by_hand(task: Task) -> Run:
    """The formulas written out in numpy, without a framework around them."""
    recipe, single = task.recipe, task.single()
    values = [value.numpy().copy() for value in single.state.values()]
    weights, biases = values[::2], values[1::2]
    activations = [activation for *_, activation in recipe.layers]
    batches = [(x.numpy(), y.numpy()) for x, y in single.batches()]
    move = numpy_adam(recipe, values) if recipe.optimizer == "adam" else numpy_sgd(recipe, values)

    def step(x: np.ndarray, y: np.ndarray) -> float:
        inputs = [x]
        for weight, bias, activation in zip(weights, biases, activations, strict=True):
            z = inputs[-1] @ weight.T + bias
            inputs.append(
                np.tanh(z) if activation == "tanh" else np.maximum(z, 0) if activation == "relu" else z
            )
        loss, grad = numpy_loss(recipe, inputs[-1], y)
        grads: list[np.ndarray] = []
        for layer in reversed(range(len(weights))):
            out = inputs[layer + 1]
            if activations[layer] == "tanh":
                grad = grad * (1 - out * out)
            elif activations[layer] == "relu":
                grad = grad * (out > 0)
            grads[:0] = [grad.T @ inputs[layer], grad.sum(0)]
            if layer:  # nobody asks for the gradient of the points
                grad = grad @ weights[layer]
        move(grads)
        return loss

    def run() -> list[float]:
        for x, y in batches:
            loss = step(x, y)
        return [loss]

    return run


def numpy_loss(recipe: Recipe, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The recipe's loss and its gradient."""
    share = 1 / len(y) if recipe.reduction == "mean" else 1.0
    if recipe.loss == "mse":
        difference = x - y
        return float((difference * difference).sum() * share), difference * (2 * share)
    power = np.exp(-np.abs(x))
    losses = np.maximum(x, 0) - x * y + np.log1p(power)
    return float(losses.sum() * share), (np.where(x < 0, power, 1) / (1 + power) - y) * share


def numpy_sgd(recipe: Recipe, values: list[np.ndarray]) -> Any:
    """Stochastic gradient descent in place."""

    def move(grads: list[np.ndarray]) -> None:
        for value, grad in zip(values, grads, strict=True):
            value -= recipe.lr * (grad + recipe.weight_decay * value)

    return move


def numpy_adam(recipe: Recipe, values: list[np.ndarray]) -> Any:
    """Adam in place, with torch's constants."""
    means, squares, steps = [0 * value for value in values], [0 * value for value in values], 0

    def move(grads: list[np.ndarray]) -> None:
        nonlocal steps
        steps += 1
        share, root = recipe.lr / (1 - 0.9**steps), (1 - 0.999**steps) ** 0.5
        for value, grad, mean, square in zip(values, grads, means, squares, strict=True):
            mean += 0.1 * (grad - mean)
            square += 0.001 * (grad * grad - square)
            value -= share * mean / (np.sqrt(square) / root + 1e-8)

    return move


def scratch_parts(task: Task, replicas: int | None) -> tuple[Task, sf.Sequential, sf.Criterion, sf.Optimizer]:
    """Batches, net, loss and optimiser in the framework."""
    recipe, part = task.recipe, task.single() if replicas is None else task
    model = scratch_net(recipe, replicas, task.x.dtype)
    model.load_state_dict(part.state)
    criterion = getattr(sf, OBJECTIVES[recipe.loss].criterion)(recipe.reduction, replicas=replicas)
    optimizer = make_optimizer(sf, recipe, model.parameters(), recipe.lr, recipe.weight_decay)
    return part, model, criterion, optimizer


def scratch_plain(task: Task, replicas: int | None = None) -> Run:
    """The framework as it is read."""
    part, model, criterion, optimizer = scratch_parts(task, replicas)
    batches = part.batches()

    def run() -> list[float]:
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            model.backward(criterion.backward())
            optimizer.step()
        return loss.view(-1).tolist()

    return run


def scratch_compiled(task: Task, replicas: int | None = None) -> Run:
    """The framework, compiled; with a number of replicas, that many nets in one."""
    part, model, criterion, optimizer = scratch_parts(task, replicas)
    step = compile_step(model, criterion, optimizer)
    batches = part.batches()

    def run() -> list[float]:
        for x, y in batches:
            loss = step(x, y)
        return loss.view(-1).tolist()

    return run


def scratch_inference(task: Task) -> Run:
    """Compiled, and told that autograd will not be needed: torch then skips its bookkeeping."""
    with torch.inference_mode():
        inner = scratch_compiled(task)

    def run() -> list[float]:
        with torch.inference_mode():
            return inner()

    return run
