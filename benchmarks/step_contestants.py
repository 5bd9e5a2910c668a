"""The step in torch.nn, in numpy by hand, and in the framework from scratch, plain and compiled."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn, optim

import scratch_framework as sf
from benchmarks.step_task import LAYERS, LR, WEIGHT_DECAY, Run, Task, scratch_net
from scratch_framework.compiled import compile as compiled


def torch_nn(task: Task, fused: bool | None = None) -> Run:
    """torch.nn with autograd and optim.SGD: the ordinary way, and the measure."""
    single = task.single()
    first, second, third, fourth = (nn.Linear(*sizes, dtype=task.x.dtype) for sizes in LAYERS)
    model = nn.Sequential(first, nn.Tanh(), second, nn.ReLU(), third, nn.ReLU(), fourth, nn.Tanh())
    model.load_state_dict(single.state)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=fused)
    batches = single.batches()

    def run() -> list[float]:
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        return [loss.item()]

    return run


def numpy_by_hand(task: Task) -> Run:
    """The formulas written out in numpy, without a framework around them."""
    single = task.single()
    values = [value.numpy().copy() for value in single.state.values()]
    weights, biases = values[::2], values[1::2]
    batches = [(x.numpy(), y.numpy()) for x, y in single.batches()]

    def step(x: np.ndarray, y: np.ndarray) -> float:
        inputs = [x]
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = inputs[-1] @ weight.T + bias
            inputs.append(np.tanh(z) if layer in (0, 3) else np.maximum(z, 0))
        grad = inputs[-1] - y
        loss = float(np.mean(grad * grad))
        grad *= 2 / len(y)
        for layer in (3, 2, 1, 0):
            out = inputs[layer + 1]
            grad = grad * (1 - out * out) if layer in (0, 3) else grad * (out > 0)
            weight_grad, bias_grad = grad.T @ inputs[layer], grad.sum(0)
            grad = grad @ weights[layer]
            weights[layer] -= LR * (weight_grad + WEIGHT_DECAY * weights[layer])
            biases[layer] -= LR * (bias_grad + WEIGHT_DECAY * biases[layer])
        return loss

    def run() -> list[float]:
        for x, y in batches:
            loss = step(x, y)
        return [loss]

    return run


def scratch_plain(task: Task, replicas: int | None = None) -> Run:
    """The framework as it is read."""
    part = task.single() if replicas is None else task
    model = scratch_net(replicas, task.x.dtype)
    model.load_state_dict(part.state)
    criterion = sf.MSELoss(replicas=replicas)
    optimizer = sf.SGD(model.parameters(), LR, weight_decay=WEIGHT_DECAY)
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
    part = task.single() if replicas is None else task
    model = scratch_net(replicas, task.x.dtype)
    model.load_state_dict(part.state)
    step = compiled(
        model,
        sf.MSELoss(replicas=replicas),
        sf.SGD(model.parameters(), LR, weight_decay=WEIGHT_DECAY),
    )
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
