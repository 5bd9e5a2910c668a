"""The step in numpy by hand, and in JAX and tinygrad, which ``pip install -e .[bench]`` brings."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.speed.disc.task import Run, Task
    from scratch_framework.experiments.disc.recipe import Recipe


def numpy_by_hand(task: Task) -> Run:
    """The formulas written out in numpy, without a framework around them."""
    recipe, single = task.recipe, task.single()
    values = [value.numpy().copy() for value in single.state.values()]
    batches = [(x.numpy(), y.numpy()) for x, y in single.batches()]
    move = numpy_adam(recipe, values) if recipe.optimizer == "adam" else numpy_sgd(recipe, values)

    def run() -> list[float]:
        for x, y in batches:
            loss, grads = numpy_gradients(recipe, values, x, y)
            move(grads)
        return [loss]

    return run


def numpy_gradients(
    recipe: Recipe, values: list[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """The loss of a batch, and its gradient at each weight and bias."""
    weights, biases, inputs = values[::2], values[1::2], [x]
    known: dict[str, Any] = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "none": lambda z: z}
    for weight, bias, (*_, activation) in zip(weights, biases, recipe.layers, strict=True):
        inputs.append(known[activation](inputs[-1] @ weight.T + bias))
    loss, grad = numpy_loss(recipe, inputs[-1], y)
    grads: list[np.ndarray] = []
    for layer in reversed(range(len(weights))):
        out = inputs[layer + 1]
        if recipe.layers[layer][-1] == "tanh":
            grad = grad * (1 - out * out)
        elif recipe.layers[layer][-1] == "relu":
            grad = grad * (out > 0)
        grads[:0] = [grad.T @ inputs[layer], grad.sum(0)]
        if layer:  # nobody asks for the gradient of the points
            grad = grad @ weights[layer]
    return loss, grads


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


def jax_run(task: Task, scan: bool = True, replicas: int | None = None) -> Run:
    """One compiled call an epoch (a scan over its steps) or a step; with replicas, of all by vmap."""
    jax: Any = import_module("jax")
    jnp: Any = import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)  # allows float64; float32 stays float32
    part = task if replicas else task.single()
    step = jax.vmap(jax_step(jax, task.recipe)) if replicas else jax_step(jax, task.recipe)
    values = [jnp.array(value.numpy()) for value in part.state.values()]
    parameters = list(zip(values[::2], values[1::2], strict=True))
    zeros = () if task.recipe.optimizer == "sgd" else jax.tree.map(jnp.zeros_like, parameters)
    count = jnp.zeros(values[0].shape[:-2], values[0].dtype)
    state: Any = (parameters, zeros, jax.tree.map(jnp.copy, zeros), count)
    batches = (jnp.array(part.x.numpy()), jnp.array(part.y.numpy()))
    apart = list(zip(*batches, strict=True))
    one = jax.jit(step, donate_argnums=0)
    epoch = jax.jit(lambda first, rest: jax.lax.scan(step, first, rest), donate_argnums=0)

    def run() -> list[float]:
        nonlocal state
        if scan:
            state, losses = epoch(state, batches)
            return [float(loss) for loss in jax.device_get(losses)[-1:].flat]  # indexed off the device
        for batch in apart:
            state, loss = one(state, batch)
        return [float(loss)]

    return run


def jax_step(jax: Any, recipe: Recipe) -> Any:
    """A step (state, batch) -> (state, loss) of one net.

    A state is parameters, Adam's running means of gradients and of their squares, and the number of steps.
    """
    jnp, tree = jax.numpy, jax.tree
    known: dict[str, Any] = {"tanh": jnp.tanh, "relu": jax.nn.relu, "none": lambda x: x}
    reduce = getattr(jnp, recipe.reduction)

    def loss_of(parameters: Any, batch: Any) -> Any:
        x, y = batch
        for (weight, bias), (*_, activation) in zip(parameters, recipe.layers, strict=True):
            x = known[activation](x @ weight.T + bias)
        return reduce((x - y) ** 2 if recipe.loss == "mse" else jax.nn.softplus(x) - x * y)

    def sgd(value: Any, grad: Any) -> Any:
        return value - recipe.lr * (grad + recipe.weight_decay * value)

    def step(state: Any, batch: Any) -> Any:
        parameters, means, squares, count = state
        loss, grads = jax.value_and_grad(loss_of)(parameters, batch)
        if recipe.optimizer == "sgd":
            return (tree.map(sgd, parameters, grads), means, squares, count), loss
        count = count + 1
        means = tree.map(lambda mean, grad: mean + 0.1 * (grad - mean), means, grads)
        squares = tree.map(lambda square, grad: square + 0.001 * (grad**2 - square), squares, grads)
        share, root = recipe.lr / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
        moved = tree.map(lambda mean, square: share * mean / (jnp.sqrt(square) / root + 1e-8), means, squares)
        parameters = tree.map(lambda value, move: value - move, parameters, moved)
        return (parameters, means, squares, count), loss

    return step


def tinygrad_jit(task: Task) -> Run:
    """Kernels compiled and replayed by TinyJit."""
    os.environ.setdefault("DEV", "CPU")
    tinygrad: Any = import_module("tinygrad")
    training: Any = import_module("tinygrad.helpers").Context
    tensor, single = tinygrad.Tensor, task.single()
    values = [tensor(value.numpy()).realize() for value in single.state.values()]
    recipe, known = task.recipe, import_module("tinygrad.nn.optim")
    optimizer = (
        known.Adam(values, recipe.lr)
        if recipe.optimizer == "adam"
        else known.SGD(values, recipe.lr, weight_decay=recipe.weight_decay)
    )
    activations = {"tanh": tensor.tanh, "relu": tensor.relu, "none": lambda x: x}
    batches = [(tensor(x.numpy()).realize(), tensor(y.numpy()).realize()) for x, y in single.batches()]

    def train_step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        for weight, bias, (*_, name) in zip(values[::2], values[1::2], recipe.layers, strict=True):
            x = activations[name](x @ weight.T + bias)
        losses = (x - y).square() if recipe.loss == "mse" else x.softplus() - x * y
        loss = getattr(losses, recipe.reduction)().backward()
        return loss.realize(
            *optimizer.schedule_step()
        )  # together, or the lazy loss would see the new weights

    step = tinygrad.TinyJit(train_step)

    def run() -> list[float]:
        with training(TRAINING=1):
            for x, y in batches:
                loss = step(x, y)
            return [loss.item()]

    return run
