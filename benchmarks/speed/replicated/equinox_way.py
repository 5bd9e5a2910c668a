"""R nets in Equinox and JAX: `filter_vmap` over nets, and `lax.scan` over steps, in one compiled program."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed.replicated.nets import LR, Task

if TYPE_CHECKING:
    from collections.abc import Callable


class EquinoxScan:
    """All nets in one program; they must be an `nn.Sequential`, which is rebuilt layer by layer."""

    def __init__(self, task: Task) -> None:
        self.jax, self.eqx = import_module("jax"), import_module("equinox")
        self.jax.config.update("jax_enable_x64", True)  # allows float64; float32 stays float32
        jax, eqx = self.jax, self.eqx
        made = [to_equinox(eqx, jax, net) for net in task.nets()]
        one = eqx.nn.State(made[0])
        states = jax.tree.map(lambda leaf: jax.numpy.stack([leaf] * task.replicas), one)
        parts = [eqx.partition(eqx.nn.delete_init_state(net), eqx.is_array) for net in made]
        self.static = parts[0][1]
        leaves = zip(*[jax.tree.leaves(arrays) for arrays, _ in parts], strict=True)
        structure = jax.tree.structure(parts[0][0])  # another net's has other names for the statistics
        nets = jax.tree.unflatten(structure, [jax.numpy.stack(own) for own in leaves])
        self.carried = (nets, states, jax.random.split(jax.random.key(0), task.replicas))
        xs, targets = zip(*task.batches(), strict=True)
        self.batches = tuple(jax.numpy.asarray(torch.stack(part).numpy()) for part in (xs, targets))
        step = jax.vmap(self.step, in_axes=(0, None))
        self.scan = jax.jit(lambda carried, batches: jax.lax.scan(step, carried, batches))

    def step(self, carried: Any, batch: Any) -> Any:
        """A step of one net."""
        jax = self.jax
        net, state, key = carried
        key, own = jax.random.split(key)
        (loss, state), gradients = jax.value_and_grad(self.loss, has_aux=True)(net, state, own, batch)
        return (jax.tree.map(lambda value, grad: value - LR * grad, net, gradients), state, key), loss

    def loss(self, net: Any, state: Any, key: Any, batch: Any) -> Any:
        """Mean cross entropy of one net, and its running statistics."""
        jax, (x, target) = self.jax, batch
        keys = jax.random.split(key, len(target))
        whole = self.eqx.combine(net, self.static)

        def call(x: Any, key: Any) -> Any:  # of one sample
            return whole(x, state, key=key)

        outputs, state = jax.vmap(call, axis_name="batch", out_axes=(0, None))(x, keys)
        chosen = jax.numpy.take_along_axis(jax.nn.log_softmax(outputs), target[:, None], 1)
        return -chosen.mean(), state

    def run(self) -> Tensor:
        """Take the steps; the losses before each, (steps, R)."""
        self.carried, losses = self.scan(self.carried, self.batches)
        return torch.from_numpy(np.array(losses))

    def megabytes(self) -> float:
        """What the compiled program holds at most, as its compiler says."""
        memory = self.scan.lower(self.carried, self.batches).compile().memory_analysis()
        return (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes) / 1e6


def to_equinox(eqx: Any, jax: Any, net: nn.Module) -> Any:
    """The same net, with the same weights.

    Raises:
        NotImplementedError: A layer is none of those below.
    """
    if not isinstance(net, nn.Sequential):
        raise NotImplementedError("only a Sequential is rebuilt")
    return eqx.nn.Sequential([_layer(eqx, jax, layer) for layer in net])


def _layer(eqx: Any, jax: Any, layer: Any) -> Any:
    dtype, key = _dtype(jax, layer), jax.random.key(0)
    make: dict[type[nn.Module], Callable[[], Any]] = {
        nn.Linear: lambda: eqx.nn.Linear(layer.in_features, layer.out_features, dtype=dtype, key=key),
        nn.Conv2d: lambda: eqx.nn.Conv2d(
            *(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding),
            dtype=dtype,
            key=key,
        ),
        nn.BatchNorm1d: lambda: _batch_norm(eqx, layer, dtype),
        nn.BatchNorm2d: lambda: _batch_norm(eqx, layer, dtype),
        nn.GroupNorm: lambda: eqx.nn.GroupNorm(layer.num_groups, layer.num_channels, layer.eps, dtype=dtype),
        nn.MaxPool2d: lambda: eqx.nn.MaxPool2d(layer.kernel_size, layer.stride),
        nn.Dropout: lambda: eqx.nn.Dropout(layer.p),
        nn.Identity: lambda: eqx.nn.Identity(),
        nn.Flatten: lambda: eqx.nn.Lambda(jax.numpy.ravel),
        nn.ReLU: lambda: eqx.nn.Lambda(jax.nn.relu),
        nn.GELU: lambda: eqx.nn.Lambda(lambda x: jax.nn.gelu(x, approximate=False)),
    }
    made = make[type(layer)]()
    for name in ("weight", "bias"):
        if (value := getattr(layer, name, None)) is not None:
            shape = getattr(made, name).shape  # a bias of a convolution has ones behind it
            array = jax.numpy.asarray(value.detach().numpy()).reshape(shape)
            made = eqx.tree_at(lambda own, name=name: getattr(own, name), made, array)
    return made


def _batch_norm(eqx: Any, layer: Any, dtype: Any) -> Any:
    return eqx.nn.BatchNorm(
        *(layer.num_features, "batch", layer.eps),
        momentum=1 - layer.momentum,
        mode="batch",
        dtype=dtype,
    )


def _dtype(jax: Any, layer: nn.Module) -> Any:
    first = next(layer.parameters(), torch.zeros(0))
    return jax.numpy.float64 if first.dtype == torch.float64 else jax.numpy.float32
