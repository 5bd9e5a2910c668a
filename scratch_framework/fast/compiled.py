"""A whole training step in one call, for nets so small that calls cost more than arithmetic.

    step = compile_step(model, criterion, optimizer)
    loss = step(x, y)

computes what these four lines compute,

    optimizer.zero_grad()
    loss = criterion(model(x), y)
    model.backward(criterion.backward())
    optimizer.step()

but for rounding: to 1e-12 in float64; in float32 to 1e-5 a step. Tanh is 2 sigmoid(2z) - 1 here, whose error
of 1e-7 is absolute, so that a tiny tanh(z) has few right digits; and where a gradient has overflowed, 0 times
infinity is NaN here.

A layer of 25 units and 50 points takes 30,000 multiplications: about a microsecond. The call into torch
around it costs about as much again, and so does a new tensor. A compiled net therefore has fewer operations
and hardly a new tensor. Parameters and gradients are two vectors (`parameter_vector`), which the optimiser
moves as if they were one parameter. Layers work in place (`fused_layers`) on buffers that are made once for
each size of batch (`compiled_pass`). The plain net stays valid, as its parameters are views of the vector,
and either form goes on where the other stopped. docs/scratch_speed.md has the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from scratch_framework.core.adam import Adam, AdamW
from scratch_framework.core.linear import Linear
from scratch_framework.core.optim import SGD
from scratch_framework.core.rmsprop import Adagrad, RMSprop
from scratch_framework.core.sequential import Sequential
from scratch_framework.fast.compiled_pass import CompiledPass
from scratch_framework.fast.fused_layers import Identity, in_place
from scratch_framework.fast.parameter_vector import ParameterVector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from scratch_framework.core.criterion import Criterion
    from scratch_framework.core.module import Module
    from scratch_framework.core.optim import Optimizer

OPTIMIZERS = (SGD, Adam, AdamW, RMSprop, Adagrad)
Step: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


def compile_step(model: Sequential, criterion: Criterion, optimizer: Optimizer) -> Step:
    """Make one call of a training step.

    If the weights of a net become NaN, so do the fixed numbers in its vector. After the weights are loaded
    anew, compile the net again.

    Args:
        model: A chain of `Linear`, each followed by at most one of `ReLU`, `LeakyReLU`, `Sigmoid`, `Tanh`.
        criterion: Any loss that is reduced.
        optimizer: One of `OPTIMIZERS` over ``model.parameters()``.

    Returns:
        A function of points, (N, in) or (R, N, in), and targets that trains one step and returns the loss.
    """
    layers, activations = split_layers(model)
    check_parts(model, layers, criterion, optimizer)
    vector = ParameterVector(layers, [activation.constant for activation in activations[:-1]])
    vector.attach_optimizer(optimizer)
    passes: dict[object, CompiledPass] = {}

    def step(x: Tensor, y: Tensor) -> Tensor:
        kind = (x.shape, y.shape, x.dtype, y.dtype, x.requires_grad, y.requires_grad)
        compiled_pass = passes.get(kind)
        if compiled_pass is None:
            if x.dim() != 2 and layers[0].replicas is None:
                raise ValueError(
                    f"compile: x must have shape (N, {layers[0].in_features}), got {tuple(x.shape)}"
                )
            criterion(model(x), y)  # the plain net says clearly what does not fit
            compiled_pass = passes[kind] = CompiledPass(vector, activations, criterion, x.shape[-2])
        loss = compiled_pass.run(x, y)
        optimizer.step()
        return loss

    return step


def split_layers(model: Module) -> tuple[list[Linear], list[Identity]]:
    """Take a chain apart.

    Args:
        model: A Sequential, with others inside it or not.

    Returns:
        Its linear layers, and what follows each.
    """
    layers: list[Linear] = []
    activations: list[Identity] = []
    for place, module in enumerate(unchain(model)):
        if type(module) is Linear:
            layers.append(module)
            activations.append(Identity())
            continue
        activation = in_place(module, layers[0].weight.value) if layers else None
        if activation is None or type(activations[-1]) is not Identity:
            raise ValueError(
                "compile knows chains of Linear, each followed by at most one of ReLU, LeakyReLU, Sigmoid and"
                f" Tanh, got {module!r} at place {place}"
            )
        activations[-1] = activation
    return layers, activations


def unchain(module: Module) -> Iterator[Module]:
    """Modules of a Sequential in their order, those of inner ones included."""
    if type(module) is Sequential:
        for inner in module:
            yield from unchain(inner)
    else:
        yield module


def check_parts(model: Module, layers: list[Linear], criterion: Criterion, optimizer: Optimizer) -> None:
    """Refuse what does not belong together.

    Args:
        model: The net.
        layers: Its linear layers.
        criterion: The loss.
        optimizer: The optimiser.
    """
    replicas = [*(layer.replicas for layer in layers), criterion.replicas]
    if len(set(replicas)) > 1:
        raise ValueError(f"compile: layers and criterion must have the same replicas, got {replicas}")
    dtypes = [layer.weight.value.dtype for layer in layers]
    if len(set(dtypes)) > 1:
        raise ValueError(f"compile: layers must have the same dtype, got {dtypes}")
    if criterion.reduction == "none":
        raise ValueError("compile: the criterion must reduce its losses, got reduction 'none'")
    own = [one for layer in layers for one in (layer.weight, layer.bias) if one is not None]
    if len(set(map(id, own))) < len(own):
        raise ValueError("compile: every layer must have parameters of its own, two layers share one")
    if type(optimizer) not in OPTIMIZERS:
        known = ", ".join(kind.__name__ for kind in OPTIMIZERS)
        raise ValueError(f"compile knows the optimisers {known}, got {type(optimizer).__name__}")
    if list(map(id, optimizer.params)) != list(map(id, model.parameters())):
        raise ValueError(
            "compile: the optimizer must hold the parameters of the model, all and in their order"
        )
