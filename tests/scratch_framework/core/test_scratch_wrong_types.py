"""Wrong types: no argument or input of a layer, loss, optimiser or schedule ends in an error of torch's."""

import inspect
import math
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scratch_framework as sf

X, IMAGES, CLASSES = torch.ones(5, 4), torch.ones(5, 4, 6, 6), torch.tensor([0, 1, 2, 3, 0])
LAYERS: Mapping[Any, tuple[dict[str, Any], Tensor]] = {  # an input that each takes
    sf.Linear: ({"in_features": 4, "out_features": 3}, X),
    sf.Conv2d: ({"in_channels": 4, "out_channels": 2, "kernel_size": 3}, IMAGES),
    sf.Conv1d: ({"in_channels": 4, "out_channels": 2, "kernel_size": 3}, IMAGES[..., 0]),
    sf.MaxPool2d: ({"kernel_size": 2}, IMAGES),
    sf.AvgPool2d: ({"kernel_size": 2}, IMAGES),
    sf.AdaptiveAvgPool2d: ({"output_size": 2}, IMAGES),
    sf.BatchNorm1d: ({"num_features": 4}, X),
    sf.BatchNorm2d: ({"num_features": 4, "affine": False, "track_running_stats": False}, IMAGES),
    sf.LayerNorm: ({"normalized_shape": 4}, X),
    sf.Embedding: ({"num_embeddings": 4, "embedding_dim": 3}, CLASSES),
    sf.RNNCell: ({"input_size": 4, "hidden_size": 3}, X),
    sf.SelfAttention: ({"embed_dim": 4, "num_heads": 2}, torch.ones(5, 3, 4)),
    **{kind: ({}, X) for kind in (sf.Dropout, sf.Flatten, sf.Softmax, sf.GELU, sf.Softplus, sf.LeakyReLU)},
    **{kind: ({}, X) for kind in (sf.ReLU, sf.Tanh, sf.Sigmoid, sf.SiLU)},
}
LOSSES: Mapping[Any, Tensor] = {  # a target that each takes
    **dict.fromkeys((sf.MSELoss, sf.L1Loss, sf.HuberLoss, sf.BCEWithLogitsLoss), X),
    **dict.fromkeys((sf.CrossEntropyLoss, sf.NLLLoss), CLASSES),
}
OPTIMIZERS = (sf.SGD, sf.Adam, sf.AdamW, sf.Adagrad, sf.RMSprop)
SCHEDULES: Mapping[Any, dict[str, Any]] = {
    sf.StepLR: {"step_size": 2},
    sf.CosineAnnealingLR: {"T_max": 3},
    sf.OneCycleLR: {"max_lr": 0.1, "total_steps": 9},
}
VALUES = ["0.5", b"x", None, True, 0, -1, 2.5, math.nan, 10**30, 1j, [], (1, 2, 3), ("a", "b"), {1}, object()]
VALUES += [torch.tensor(2), torch.ones(2), torch.tensor(1j), np.float32(0.5), np.array(2), np.array([1, 2])]
VALUES += [torch.int64, "cuda:99", torch.Generator()]
NOT_ARGUMENTS = {"args", "kwargs", "params", "optimizer"}


def names(kind: Any) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name not in NOT_ARGUMENTS]


def use_layer(kind: Any, **options: Any) -> None:
    start, x = LAYERS[kind]
    differentiate(kind(**start | options), x)


def differentiate(layer: sf.Module, x: Tensor) -> None:
    layer.backward(torch.ones_like(layer(x)))


def use_loss(kind: Any, **options: Any) -> None:
    criterion = kind(**options)
    criterion.backward(torch.ones_like(criterion(X, LOSSES[kind])))


def use_optimizer(kind: Any, **options: Any) -> None:
    optimizer = kind([sf.Parameter(torch.ones(2, 3))], **options)
    optimizer.step()


def use_momentum(kind: Any, momentum: Any) -> None:
    optimizer = kind([sf.Parameter(torch.ones(2, 3))])
    optimizer.set_momentum(momentum)
    optimizer.step()


def use_schedule(kind: Any, **options: Any) -> None:
    optimizer = sf.SGD([sf.Parameter(torch.ones(2, 3))], momentum=0.9)
    kind(optimizer, **SCHEDULES[kind] | options)
    optimizer.step()


ARGUMENTS = [
    (use, kind, name)
    for use, kinds in (
        (use_layer, LAYERS),
        (use_loss, LOSSES),
        (use_optimizer, OPTIMIZERS),
        (use_schedule, SCHEDULES),
    )
    for kind in kinds
    for name in names(kind)
] + [(use_momentum, kind, "momentum") for kind in (sf.SGD, sf.Adam, sf.RMSprop)]


def check_refusal(attempt: Callable[[], None]) -> None:
    """It works, or the framework itself refuses it in one line."""
    refusal: ValueError | None = None
    try:
        attempt()
    except ValueError as error:
        refusal = error
    if refusal is not None:
        assert "\n" not in str(refusal)
        assert (traceback.extract_tb(refusal.__traceback__)[-1].line or "").startswith("raise"), refusal


@pytest.mark.parametrize(
    ("use", "kind", "name"), ARGUMENTS, ids=lambda part: getattr(part, "__name__", str(part))
)
def test_an_argument_of_the_wrong_type_is_refused_in_one_line(
    use: Callable[..., None], kind: Any, name: str
) -> None:
    for value in VALUES:
        check_refusal(lambda: use(kind, **{name: value}))  # noqa: B023  # called at once


DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64)
SHAPES = ((), (4,), (0, 4), (5, 4), (5, 3, 4), (5, 4, 6), (5, 4, 6, 6), (5, 4, 0, 0), (2, 5, 4, 6, 6))
INPUTS = [torch.ones(shape).to(dtype) for shape in SHAPES for dtype in DTYPES]
INPUTS += [torch.ones(shape, device="meta") for shape in SHAPES]
INPUTS += [torch.ones(shape).to_sparse() for shape in SHAPES[1:]]
INPUTS += [torch.ones(shape[::-1]).permute(tuple(range(len(shape)))[::-1]) for shape in SHAPES]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_takes_an_input_or_refuses_it_in_one_line(kind: Any, training: bool) -> None:
    for x in INPUTS:
        check_refusal(lambda: differentiate(kind(**LAYERS[kind][0]).train(training), x))  # noqa: B023


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_takes_prediction_and_target_or_refuses_them_in_one_line(kind: Any) -> None:
    for x in INPUTS:
        for prediction, target in ((x, x), (x, LOSSES[kind]), (X, x)):
            check_refusal(lambda: kind()(prediction, target))  # noqa: B023


CALLS: Mapping[str, Callable[[Any], Any]] = {  # what is called with a value, beside constructors
    "train": lambda value: sf.ReLU().train(value),
    "SGD.set_momentum": lambda value: sf.SGD([sf.Parameter(X)]).set_momentum(value),
    "ModuleList.append": lambda value: sf.ModuleList().append(value),
    "layer": lambda value: sf.ReLU()(value),
    "backward": lambda value: (layer := sf.ReLU(), layer(X), layer.backward(value)),
    "RNNCell": lambda value: sf.RNNCell(4, 3)(value),
    "state of RNNCell": lambda value: sf.RNNCell(4, 3)(X, value),
    "prediction": lambda value: sf.MSELoss()(value, X),
    "target": lambda value: sf.MSELoss()(X, value),
    "weight of a loss": lambda value: (loss := sf.MSELoss(), loss(X, X), loss.backward(value)),
    "load_state_dict": lambda value: sf.Linear(4, 3).load_state_dict(value),
    "value in load_state_dict": lambda value: sf.Tanh().load_state_dict({"a": value}),
    "stack_states": lambda value: sf.stack_states(value),
    "state in stack_states": lambda value: sf.stack_states([value]),
    "value in stack_states": lambda value: sf.stack_states([{"a": value}]),
    "state": lambda value: sf.replica_state(value, 0),
    "value in a state": lambda value: sf.replica_state({"a": value}, 0),
    "replica": lambda value: sf.replica_state({"a": X}, value),
    "modules": lambda value: sf.Sequential(value),
    "params": lambda value: sf.SGD(value),
    "optimizer": lambda value: sf.StepLR(value, 1),
    "trunk": lambda value: sf.SharedTrunk(value, sf.ReLU()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_with_the_wrong_type_is_refused_in_one_line(call: Callable[[Any], Any]) -> None:
    for value in VALUES:
        check_refusal(lambda: call(value))  # noqa: B023


def test_replicas_states_and_a_mode_of_the_wrong_type_are_named() -> None:
    for mistake, message in (
        (lambda: sf.ReLU().train("no"), "ReLU: mode must be True or False, got 'no'"),  # type: ignore[arg-type]
        (lambda: sf.RNNCell(4, 3)(X, [1]), "RNNCell: state must be a tensor, got list"),  # type: ignore[arg-type]
        (lambda: sf.replica_state({"a": X}, "0"), "replica must be a whole number, got '0'"),  # type: ignore[arg-type]
        (lambda: sf.stack_states(3), "states must be a list of state_dicts, got 3"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            mistake()
