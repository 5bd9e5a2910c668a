"""The step in JAX and in tinygrad, where they are installed (``pip install -e .[bench]``)."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.step_task import Run, Task


def jax_parts(task: Task) -> tuple[Any, Any, Any, Any, Any]:
    """JAX, a step (start, batch) -> (start, loss), its start, and batches as JAX's arrays.

    A start is parameters, Adam's running means of them and of their squares, and the number of steps.
    """
    jax: Any = import_module("jax")
    jnp: Any = import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)  # allows float64; float32 stays float32
    recipe = task.recipe
    known: dict[str, Any] = {"tanh": jnp.tanh, "relu": jax.nn.relu, "none": lambda x: x}
    reduce = getattr(jnp, recipe.reduction)

    def losses(x: Any, y: Any) -> Any:
        return (x - y) ** 2 if recipe.loss == "mse" else jax.nn.softplus(x) - x * y

    def loss_of(parameters: Any, batch: Any) -> Any:
        x, y = batch
        for (weight, bias), (*_, activation) in zip(parameters, recipe.layers, strict=True):
            x = known[activation](x @ weight.T + bias)
        return reduce(losses(x, y))

    def sgd(value: Any, grad: Any) -> Any:
        return value - recipe.lr * (grad + recipe.weight_decay * value)

    def step(start: Any, batch: Any) -> Any:
        parameters, means, squares, steps = start
        loss, grads = jax.value_and_grad(loss_of)(parameters, batch)
        if recipe.optimizer == "sgd":
            return (jax.tree.map(sgd, parameters, grads), means, squares, steps), loss
        steps = steps + 1
        means = jax.tree.map(lambda mean, grad: mean + 0.1 * (grad - mean), means, grads)
        squares = jax.tree.map(lambda square, grad: square + 0.001 * (grad**2 - square), squares, grads)
        share, root = recipe.lr / (1 - 0.9**steps), jnp.sqrt(1 - 0.999**steps)
        parameters = jax.tree.map(
            lambda value, mean, square: value - share * mean / (jnp.sqrt(square) / root + 1e-8),
            parameters,
            means,
            squares,
        )
        return (parameters, means, squares, steps), loss

    values = [jnp.array(value.numpy()) for value in task.state.values()]
    parameters = list(zip(values[::2], values[1::2], strict=True))
    zeros = () if recipe.optimizer == "sgd" else jax.tree.map(jnp.zeros_like, parameters)
    steps = jnp.zeros(values[0].shape[:-2], values[0].dtype)
    start = (parameters, zeros, jax.tree.map(jnp.copy, zeros), steps)
    return jax, step, start, jnp.array(task.x.numpy()), jnp.array(task.y.numpy())


def jax_step(task: Task) -> Run:
    """One compiled call a step."""
    jax, step, start, x, y = jax_parts(task.single())
    step = jax.jit(step, donate_argnums=0)
    batches = [(x[place], y[place]) for place in range(len(x))]

    def run() -> list[float]:
        nonlocal start
        for batch in batches:
            start, loss = step(start, batch)
        return [float(loss)]

    return run


def jax_scan(task: Task) -> Run:
    """One compiled call an epoch."""
    jax, step, start, x, y = jax_parts(task.single())
    epoch = jax.jit(lambda first, batches: jax.lax.scan(step, first, batches), donate_argnums=0)

    def run() -> list[float]:
        nonlocal start
        start, losses = epoch(start, (x, y))
        return [float(jax.device_get(losses)[-1])]  # to index on the device would be one more call

    return run


def jax_vmap_scan(task: Task) -> Run:
    """One compiled call an epoch of all replicas."""
    jax, step, start, x, y = jax_parts(task)
    steps = jax.vmap(step)
    epoch = jax.jit(lambda first, batches: jax.lax.scan(steps, first, batches), donate_argnums=0)

    def run() -> list[float]:
        nonlocal start
        start, losses = epoch(start, (x, y))
        return [float(loss) for loss in jax.device_get(losses)[-1]]

    return run


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
