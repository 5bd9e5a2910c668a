"""The step in JAX and in tinygrad, where they are installed (``pip install -e .[bench]``)."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from benchmarks.step_task import LR, WEIGHT_DECAY, Run, Task


def jax_parts(task: Task) -> tuple[Any, Any, Any, Any, Any]:
    """JAX, a step (parameters, batch) -> (parameters, loss), and parameters and batches as its arrays."""
    jax: Any = import_module("jax")
    jnp: Any = import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)  # allows float64; float32 stays float32
    activations = (jnp.tanh, jax.nn.relu, jax.nn.relu, jnp.tanh)

    def loss_of(parameters: Any, batch: Any) -> Any:
        x, y = batch
        for (weight, bias), activation in zip(parameters, activations, strict=True):
            x = activation(x @ weight.T + bias)
        return jnp.mean((x - y) ** 2)

    def step(parameters: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(parameters, batch)
        moved = jax.tree.map(
            lambda value, grad: value - LR * (grad + WEIGHT_DECAY * value), parameters, grads
        )
        return moved, loss

    values = [jnp.array(value.numpy()) for value in task.state.values()]
    parameters = list(zip(values[::2], values[1::2], strict=True))
    return jax, step, parameters, jnp.array(task.x.numpy()), jnp.array(task.y.numpy())


def jax_step(task: Task) -> Run:
    """One compiled call a step."""
    jax, step, parameters, x, y = jax_parts(task.single())
    step = jax.jit(step, donate_argnums=0)
    batches = [(x[place], y[place]) for place in range(len(x))]

    def run() -> list[float]:
        nonlocal parameters
        for batch in batches:
            parameters, loss = step(parameters, batch)
        return [float(loss)]

    return run


def jax_scan(task: Task) -> Run:
    """One compiled call an epoch."""
    jax, step, parameters, x, y = jax_parts(task.single())
    epoch = jax.jit(lambda start, batches: jax.lax.scan(step, start, batches), donate_argnums=0)

    def run() -> list[float]:
        nonlocal parameters
        parameters, losses = epoch(parameters, (x, y))
        return [float(jax.device_get(losses)[-1])]  # to index on the device would be one more call

    return run


def jax_vmap_scan(task: Task) -> Run:
    """One compiled call an epoch of all replicas."""
    jax, step, parameters, x, y = jax_parts(task)
    steps = jax.vmap(step)
    epoch = jax.jit(lambda start, batches: jax.lax.scan(steps, start, batches), donate_argnums=0)

    def run() -> list[float]:
        nonlocal parameters
        parameters, losses = epoch(parameters, (x, y))
        return [float(loss) for loss in jax.device_get(losses)[-1]]

    return run


def tinygrad_jit(task: Task) -> Run:
    """Kernels compiled and replayed by TinyJit."""
    os.environ.setdefault("DEV", "CPU")
    tinygrad: Any = import_module("tinygrad")
    training: Any = import_module("tinygrad.helpers").Context
    tensor, single = tinygrad.Tensor, task.single()
    values = [tensor(value.numpy()).realize() for value in single.state.values()]
    optimizer = import_module("tinygrad.nn.optim").SGD(values, LR, weight_decay=WEIGHT_DECAY)
    activations = (tensor.tanh, tensor.relu, tensor.relu, tensor.tanh)
    batches = [(tensor(x.numpy()).realize(), tensor(y.numpy()).realize()) for x, y in single.batches()]

    def train_step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        for weight, bias, activation in zip(values[::2], values[1::2], activations, strict=True):
            x = activation(x @ weight.T + bias)
        loss = (x - y).square().mean().backward()
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
