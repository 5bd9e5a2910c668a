"""R nets in PyTorch: a plain loop, `replicate`, torch.func and tensordict."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from benchmarks.speed.replicated.nets import LR, Task
from lightning_modules import ReplicatedModule, replicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


class PlainLoop:
    """One net after the other."""

    def __init__(self, task: Task) -> None:
        self.nets, self.batches = task.nets(), task.batches()
        self.optimizers = [torch.optim.SGD(net.parameters(), LR) for net in self.nets]

    def run(self) -> Tensor:
        """Take the steps; the losses before each, (steps, R)."""
        losses = []
        for net, optimizer in zip(self.nets, self.optimizers, strict=True):
            for x, target in self.batches:
                loss = F.cross_entropy(net(x), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        return torch.stack(losses).unflatten(0, (len(self.nets), -1)).T


class Together:
    """All nets in one program; a subclass makes it, and gives the losses (R,) of a batch."""

    parameters: Iterator[nn.Parameter]

    def __init__(self, task: Task) -> None:
        self.batches = task.batches()
        self.make(task)
        self.optimizer = torch.optim.SGD(self.parameters, LR)

    def make(self, task: Task) -> None:
        """Make the program and set `parameters`."""
        raise NotImplementedError

    def losses(self, x: Tensor, target: Tensor) -> Tensor:
        """Of each net, (R,)."""
        raise NotImplementedError

    def run(self) -> Tensor:
        """Take the steps; the losses before each, (steps, R)."""
        every = []
        for x, target in self.batches:
            losses = self.losses(x, target)
            self.optimizer.zero_grad()
            losses.sum().backward()
            self.optimizer.step()
            every.append(losses.detach())
        return torch.stack(every)


class Replicate(Together):
    """`replicate` in a loop of one's own."""

    def make(self, task: Task) -> None:
        self.net = replicate(iter(task.nets()).__next__, range(task.replicas), example=self.batches[0][0])
        self.parameters = self.net.parameters()

    def losses(self, x: Tensor, target: Tensor) -> Tensor:
        return losses_of(self.net(x), target)


class Module(Together):
    """`ReplicatedModule`, whose step also counts its metrics; the sum of the losses is all it gives."""

    def make(self, task: Task) -> None:
        nets = iter(task.nets())
        self.module = ReplicatedModule(nets.__next__, F.cross_entropy, range(task.replicas), LR)
        self.module.network.prove(self.batches[0][0])
        self.parameters = self.module.parameters()

    def losses(self, x: Tensor, target: Tensor) -> Tensor:
        return self.module.training_step((x, target), 0)


class Ensemble(Together):
    """tensordict's EnsembleModule, which has no random numbers: nets with dropout go without it."""

    def make(self, task: Task) -> None:
        tensordict, modules = import_module("tensordict"), import_module("tensordict.nn")
        nets = Task(task.net, task.replicas, task.steps, task.dtype, dropout=False).nets()
        inner = modules.TensorDictModule(nets[0], in_keys=["x"], out_keys=["y"])
        self.ensemble = modules.EnsembleModule(inner, task.replicas)
        self.make_batch = tensordict.TensorDict
        held = dict(self.ensemble.params_td.flatten_keys(".").items())
        with torch.no_grad():
            for name, value in held.items():
                value.copy_(torch.stack([net.state_dict()[name.removeprefix("module.")] for net in nets]))
        self.parameters = self.ensemble.params_td.parameters()

    def losses(self, x: Tensor, target: Tensor) -> Tensor:
        outputs = self.ensemble(self.make_batch({"x": x}, batch_size=len(x)))["y"]  # (R, N, classes)
        return losses_of(outputs.transpose(0, 1), target)


class Vmap:
    """`torch.func`: vmap over grad, as its page on ensembles has it, and SGD over all tensors at once."""

    def __init__(self, task: Task) -> None:
        nets, self.batches = task.nets(), task.batches()
        self.net = copy.deepcopy(nets[0]).to("meta")
        self.parameters, self.buffers = stack_module_state(nets)
        self.parameters = {name: value.detach() for name, value in self.parameters.items()}
        over = (0, 0, None, None)
        self.gradients = vmap(grad_and_value(self.loss, has_aux=True), over, randomness="different")

    def loss(self, parameters: Any, buffers: Any, x: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        """Of one net, with its buffers as they are afterwards."""
        buffers = {name: value.clone() for name, value in buffers.items()}
        outputs = functional_call(self.net, (parameters, buffers), (x,))
        return F.cross_entropy(outputs, target), buffers

    def run(self) -> Tensor:
        """Take the steps; the losses before each, (steps, R)."""
        every = []
        for x, target in self.batches:
            gradients, (losses, self.buffers) = self.gradients(self.parameters, self.buffers, x, target)
            names = list(gradients)
            torch._foreach_add_(
                [self.parameters[name] for name in names], [gradients[name] for name in names], alpha=-LR
            )
            every.append(losses)
        return torch.stack(every)


def losses_of(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropies (R,) of outputs (N, R, classes)."""
    each = target.unsqueeze(1).expand(outputs.shape[:2])
    return F.cross_entropy(outputs.transpose(1, 2), each, reduction="none").mean(0)
