"""Every argument of torch's classes is taken by ours, or refused in one line that says what to use."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

import scratch_framework as sf

ROOMS = (nn, optim, optim.lr_scheduler)
TWINS = {
    kind: twin
    for kind in (getattr(sf, name) for name in sf.__all__)
    for twin in [next((getattr(room, kind.__name__) for room in ROOMS if hasattr(room, kind.__name__)), None)]
    if isinstance(kind, type) and twin is not None and kind not in (sf.Parameter, sf.Buffer, sf.Optimizer)
}
NEEDED: dict[str, Any] = {  # something for each argument without a default
    "in_features": 2,
    "out_features": 3,
    "in_channels": 2,
    "out_channels": 3,
    "kernel_size": 2,
    "output_size": 2,
    "num_features": 2,
    "normalized_shape": 2,
    "num_embeddings": 3,
    "embedding_dim": 2,
    "input_size": 2,
    "hidden_size": 3,
    "optimizer": sf.SGD([sf.Parameter(torch.zeros(2))]),
    "params": [sf.Parameter(torch.zeros(2))],
    "max_lr": 0.1,
    "step_size": 2,
    "T_max": 5,
}
MORE: dict[type, dict[str, Any]] = {sf.OneCycleLR: {"total_steps": 9}, sf.LRScheduler: {}}


def arguments(kind: Any) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(kind).parameters
    return {
        name: one for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }


ARGUMENTS = [(kind, name) for kind, twin in TWINS.items() for name in arguments(twin)]
LEFT_OUT = [(kind, name) for kind, name in ARGUMENTS if name not in arguments(kind)]


def make(kind: Any, **options: Any) -> Any:
    needed = {name: NEEDED[name] for name, one in arguments(kind).items() if one.default is one.empty}
    return kind(**needed | MORE.get(kind, {}) | options)


def ids(pairs: list[tuple[Any, str]]) -> list[str]:
    return [f"{kind.__name__}-{name}" for kind, name in pairs]


@pytest.mark.parametrize("kind", [kind for kind in TWINS if kind is not sf.LRScheduler])
def test_arguments_without_names_are_torchs_in_torchs_order_and_defaults_are_torchs(kind: type) -> None:
    ours, theirs = arguments(kind), arguments(TWINS[kind])
    order = [name for name, one in ours.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert order == list(theirs)[: len(order)]
    same = {name: (one.default, theirs[name].default) for name, one in ours.items() if name in theirs}
    differ = {name for name, (default, torchs) in same.items() if default != torchs}
    assert differ == {sf.Softmax: {"dim"}, sf.ModuleList: {"modules"}}.get(kind, set())


@pytest.mark.parametrize(("kind", "name"), LEFT_OUT, ids=ids(LEFT_OUT))
def test_an_argument_that_is_left_out_is_refused_in_one_line_that_says_what_to_use(
    kind: type, name: str
) -> None:
    default = arguments(TWINS[kind])[name].default
    others = [True, 7, "reflect", torch.ones(2)]
    for value in [other for other in others if isinstance(other, Tensor) or other != default]:
        with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name} must be \S+, got .*; use [^\n]+$"):
            make(kind, **{name: value})


@pytest.mark.parametrize(("kind", "name"), LEFT_OUT, ids=ids(LEFT_OUT))
def test_torchs_default_of_an_argument_that_is_left_out_is_taken(kind: type, name: str) -> None:
    if kind is not sf.LRScheduler:  # a base
        make(kind, **{name: arguments(TWINS[kind])[name].default})


def test_an_argument_that_stands_further_back_than_torchs_order_allows_is_refused_in_one_line() -> None:
    for call in (lambda: sf.MSELoss("sum"), lambda: sf.CrossEntropyLoss(None, 3)):  # type: ignore[call-arg]
        with pytest.raises(ValueError, match=r"Loss: at most \d arguments may stand without a name, got .+$"):
            call()
