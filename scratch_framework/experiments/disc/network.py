"""The net of a recipe: with the framework, all replicas as one, and with torch.nn, one by one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

import scratch_framework as sf
from lightning_modules.replicas.seeding import derive_seed
from scratch_framework.core.parameter import State
from scratch_framework.experiments.disc.recipe import Recipe
from scratch_framework.experiments.disc.row_bias import RowBiasLinear

ACTIVATIONS = {"tanh": "Tanh", "relu": "ReLU", "leaky_relu": "LeakyReLU", "sigmoid": "Sigmoid"}


def network(recipe: Recipe, seeds: Sequence[int], dtype: torch.dtype) -> sf.Sequential:
    """Build R replicas of a recipe's net, each drawn from its own seed."""
    state = sf.stack_states([initial_state(recipe, seed) for seed in seeds])
    linear: Callable[[int, int], sf.Module] = partial(sf.Linear, replicas=len(seeds), dtype=dtype)
    if recipe.mistake == "bias_per_row":
        linear = partial(RowBiasLinear, rows=recipe.batch_size, replicas=len(seeds), dtype=dtype)
        state = {name: _per_row(name, value, recipe.batch_size) for name, value in state.items()}
    model = sf.Sequential(*_chain(recipe, linear, sf))
    model.load_state_dict(state)
    return model


def twin(recipe: Recipe, seed: int, dtype: torch.dtype) -> nn.Sequential:
    """Build the same net of torch.nn, with the same weights."""
    model = nn.Sequential(*_chain(recipe, partial(nn.Linear, dtype=dtype), nn))
    model.load_state_dict(initial_state(recipe, seed))
    return model


def initial_state(recipe: Recipe, seed: int) -> State:
    """Draw the weights that a training starts with, whatever trains it: a net's state_dict, in float64."""
    generator = Generator().manual_seed(derive_seed(seed, "initialisation"))
    linear = partial(sf.Linear, dtype=torch.float64, generator=generator)
    model = sf.Sequential(*_chain(recipe, linear, sf))
    if recipe.initialisation == "paper":
        layers = [layer for layer in model if isinstance(layer, sf.Linear)]
        for layer, (_, _, activation) in zip(layers, recipe.layers, strict=True):
            assert layer.bias is not None
            rule = "relu" if "relu" in activation else "tanh"  # the paper has these two
            sf.init.paper_(layer.weight.value, layer.bias.value, rule, generator)
    return model.state_dict()


def _chain(recipe: Recipe, linear: Callable[[int, int], Any], library: Any) -> list[Any]:
    """Linear layers and activations in turn; the framework's names are torch.nn's."""
    chain = []
    for inputs, outputs, activation in recipe.layers:
        chain.append(linear(inputs, outputs))
        if activation != "none":
            chain.append(getattr(library, ACTIVATIONS[activation])())
    return chain


def _per_row(name: str, value: Tensor, rows: int) -> Tensor:
    """Give every row of the batch a bias; all start alike."""
    return value.unsqueeze(1).expand(-1, rows, -1) if name.endswith("bias") else value  # (R, rows, out)
