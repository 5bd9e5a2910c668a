"""Misuse: every mistake gets one line that names the argument, the rule and the value."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import scratch_framework as sf
from scratch_framework.core import init


def weights(*shape: int, replicas: int | None = None) -> list[sf.Parameter]:
    return [sf.Parameter(torch.zeros(shape), replicas)]


def optimizer() -> sf.SGD:
    return sf.SGD(weights(2))


def after_forward(module: sf.Module) -> sf.Module:
    module(torch.ones(5, 3))
    return module


def after_loss(criterion: sf.Criterion) -> sf.Criterion:
    criterion(torch.ones(5, 3), torch.ones(5, 3))
    return criterion


def after_image(module: sf.Module) -> sf.Module:
    module(IMAGES)
    return module


IMAGES = torch.ones(5, 3, 4, 4)
X, LEAF = torch.ones(5, 3), torch.ones(5, 3, requires_grad=True)
SHARED = sf.ReLU()
MODEL = sf.Sequential(sf.Linear(3, 2), sf.Tanh())

WRONG: Any = [[1.0, 2.0, 3.0]]  # what a type checker would not let pass
VALUE_ERRORS: list[tuple[Callable[[], Any], str]] = [
    # Types
    (lambda: sf.Linear(3, 2)(WRONG), "Linear: input must be a tensor, got list"),
    (lambda: sf.Sequential(sf.Tanh())(WRONG), "Sequential: input must be a tensor, got list"),
    (lambda: sf.ReLU()(X.numpy()), "ReLU: input must be a tensor, got ndarray"),  # type: ignore[arg-type]
    (lambda: after_forward(sf.Tanh()).backward(None), "Tanh: grad_output must be a tensor, got NoneType"),  # type: ignore[arg-type]
    (lambda: sf.MSELoss()(X, WRONG), "MSELoss: target must be a tensor, got list"),
    (lambda: sf.Tanh().load_state_dict(WRONG), "state_dict must hold tensors by name, got list"),
    (
        lambda: sf.Linear(1, 1).load_state_dict({"weight": WRONG, "bias": WRONG}),
        "state_dict: weight must be a tensor, got list",
    ),
    (lambda: sf.SGD(sf.Tanh()), "params must hold parameters (model.parameters()), got Tanh()"),  # type: ignore[arg-type]
    (lambda: sf.SGD([LEAF]), "params must hold parameters (model.parameters()), got tensor([[1., 1., 1.],"),  # type: ignore[list-item]
    (lambda: sf.SGD(weights(2), lr="0.1"), "lr must be a number or a tensor, got '0.1'"),  # type: ignore[arg-type]
    (lambda: sf.Adam(weights(2), betas=0.9), "betas must be two numbers, got 0.9"),  # type: ignore[arg-type]
    (lambda: sf.Adam(weights(2), betas=(0.9, 0.99, 0.9)), "betas must be two numbers, got (0.9, 0.99, 0.9)"),  # type: ignore[arg-type]
    (lambda: sf.StepLR(MODEL, 1), "optimizer must be an optimiser, such as SGD, got Sequential("),  # type: ignore[arg-type]
    (lambda: sf.OneCycleLR(MODEL, 0.1, 9), "optimizer must be an optimiser, such as SGD, got Sequential("),  # type: ignore[arg-type]
    (lambda: sf.Linear(3.0, 2), "in_features must be a whole number, got 3.0"),  # type: ignore[arg-type]
    (lambda: sf.Conv2d(1, 2, 3.0), "kernel_size must be a whole number or a pair of them, got 3.0"),  # type: ignore[arg-type]
    (lambda: sf.Conv1d(1, 2, 3.0), "kernel_size must be a whole number or a pair of them, got 3.0"),  # type: ignore[arg-type]
    (lambda: sf.AdaptiveAvgPool2d(2.5), "must be a whole number, None or a pair of them, got 2.5"),  # type: ignore[arg-type]
    (lambda: sf.MaxPool2d(2)(IMAGES.byte()), "MaxPool2d: the input must hold floating-point numbers, got"),
    (lambda: sf.AvgPool2d(2)(IMAGES.byte()), "AvgPool2d: the input must hold floating-point numbers, got"),
    (lambda: sf.AdaptiveAvgPool2d(2)(IMAGES.byte()), "the input must hold floating-point numbers, got"),
    (
        lambda: sf.LayerNorm(3, elementwise_affine=False)(X.long()),
        "LayerNorm: the input must hold floating-point numbers, got torch.int64",
    ),
    (lambda: sf.Dropout("0.5"), "Dropout: p must be a number, got '0.5'"),  # type: ignore[arg-type]
    (lambda: sf.Softmax(9)(X), "Softmax: dim must be a dimension of the input, got 9 for shape (5, 3)"),
    (lambda: sf.Linear(3, 2, dtype=torch.int64), "dtype must be a dtype of floating-point numbers or None"),
    (lambda: sf.Linear(3, 2, device="gpu"), "device must be a device that torch finds here, such as 'cpu'"),
    (lambda: sf.Linear(3, 10**30), "out_features must have at most 63 bits, got 1000000000000000"),
    (lambda: sf.Tanh()(X.to("meta")), "Tanh: input must be a dense tensor (to_dense()) of real numbers, got"),
    (lambda: sf.ReLU()(X * 1j), "got torch.strided of torch.complex64 on cpu"),
    (lambda: optimizer().set_momentum("0.9"), "SGD: momentum must be a number, got '0.9'"),  # type: ignore[arg-type]
    (lambda: sf.Dropout()(IMAGES.byte()), "Dropout: the input must hold floating-point numbers, got"),
    # Shapes
    (lambda: sf.Linear(2, 4)(X), "input must have shape (..., 2) for a weight of shape (4, 2), got (5, 3)"),
    (lambda: sf.Linear(2, 4)(torch.tensor(1.0)), "shape (..., 2) for a weight of shape (4, 2), got ()"),
    (
        lambda: sf.Linear(3, 4, replicas=2)(torch.ones(6, 5, 3)),
        "shape (2, N, 3) or (N, 3) for a weight of shape (2, 4, 3), got (6, 5, 3)",
    ),
    (lambda: sf.Linear(3, 4, replicas=2)(torch.ones(3)), "shape (2, N, 3) or (N, 3)"),
    (lambda: after_forward(sf.Linear(3, 4)).backward(X), "the output's shape (5, 4), got (5, 3)"),
    (lambda: after_forward(sf.Tanh()).backward(X[:1]), "the output's shape (5, 3), got (1, 3)"),
    (lambda: sf.MSELoss()(X, X[:, 0]), "MSELoss: the target must have shape (5, 3), got (5,)"),
    (lambda: sf.MSELoss()(X, X[:, :1]), "the target must have shape (5, 3), got (5, 1)"),
    (lambda: sf.BCEWithLogitsLoss()(X, X.T), "shape (5, 3), got (3, 5)"),
    (lambda: sf.CrossEntropyLoss()(X, torch.zeros(4).long()), "the target must have shape (5,), got (4,)"),
    (lambda: sf.CrossEntropyLoss()(X[0, 0], torch.tensor(1)), "shape (N, C, ...) or (C,), got ()"),
    (lambda: sf.CrossEntropyLoss(replicas=5)(X, torch.zeros(5).long()), "shape (5, N, C, ...), got (5, 3)"),
    (lambda: sf.CrossEntropyLoss()(X, X.T), "the target must have shape (5, 3), got (3, 5)"),
    (lambda: sf.NLLLoss(X[0, :2])(X, X[:, 0].long()), "NLLLoss: the weight must have shape (3,), got (2,)"),
    (lambda: sf.BCEWithLogitsLoss(X[:2])(X, X), "the weight must broadcast to the prediction's shape (5, 3)"),
    (
        lambda: sf.BCEWithLogitsLoss(pos_weight=X.long())(X, X),
        "the pos_weight must have the prediction's dtype",
    ),
    (lambda: sf.MSELoss(replicas=2)(X, X), "the prediction must have shape (2, N, ...), got (5, 3)"),
    (lambda: sf.MSELoss()(X[:0], X[:0]), "at least one number, got shape (0, 3)"),
    (lambda: after_loss(sf.MSELoss()).backward(X), "the loss's shape (), got (5, 3)"),
    (
        lambda: sf.Conv2d(2, 4, 3)(IMAGES),
        "shape (N, 2, H, W) or (2, H, W) for a weight of shape (4, 2, 3, 3), got (5, 3, 4",
    ),
    (lambda: sf.Conv2d(3, 4, 3)(IMAGES[0, 0]), "shape (N, 3, H, W) or (3, H, W) for a weight"),
    (lambda: sf.Conv1d(3, 4, 3)(IMAGES), "Conv1d: the input must have shape (N, 3, L) or (3, L)"),
    (lambda: sf.Embedding(4, 2, replicas=2)(torch.zeros(3).long()), "shape (2, ...), got (3,)"),
    (lambda: sf.LayerNorm(4)(X), "LayerNorm: the input must have shape (..., 4) for a weight of shape (4,)"),
    (lambda: sf.RNNCell(3, 4)(X, X), "RNNCell: the state must have shape (5, 4)"),
    (lambda: sf.Conv2d(3, 4, 3, replicas=2)(IMAGES.unsqueeze(0)), "shape (2, N, 3, H, W) or (N, 3, H, W)"),
    (lambda: sf.Conv2d(3, 4, 5)(IMAGES), "a patch of 5 x 5 must fit into the image, got one of 4 x 4"),
    (lambda: sf.MaxPool2d(5)(IMAGES), "MaxPool2d: a patch of 5 x 5 must fit into the image"),
    (lambda: sf.MaxPool2d(2)(IMAGES[0, 0, 0]), "MaxPool2d: the input must have shape (..., H, W), got (4,)"),
    (lambda: sf.BatchNorm2d(4)(IMAGES), "shape (N, 4, H, W) for a weight of shape (4,), got (5, 3, 4, 4)"),
    (
        lambda: sf.BatchNorm1d(3)(IMAGES),
        "shape (N, 3) or (N, 3, L) for a weight of shape (3,), got (5, 3, 4, 4)",
    ),
    (
        lambda: sf.BatchNorm1d(3, replicas=2)(X),
        "shape (2, N, 3) or (2, N, 3, L) for a weight of shape (2, 3), got (5, 3)",
    ),
    (lambda: sf.BatchNorm1d(3)(X[:1]), "training needs more than one number a feature, got shape (1, 3)"),
    (
        lambda: after_image(sf.Conv2d(3, 4, 3)).backward(IMAGES),
        "the output's shape (5, 4, 2, 2), got (5, 3, 4",
    ),
    (
        lambda: sf.SharedTrunk(sf.Flatten(), sf.ReLU())(X),
        "SharedTrunk: the input must have shape (..., N, B, H, W)",
    ),
    (lambda: sf.Flatten(2)(X), "be dimensions of the input, in this order, got 2 and -1 for shape (5, 3)"),
    (
        lambda: sf.Flatten(0, -3)(X),
        "be dimensions of the input, in this order, got 0 and -3 for shape (5, 3)",
    ),
    (lambda: sf.Flatten(1, 0)(X), "be dimensions of the input, in this order, got 1 and 0 for shape (5, 3)"),
    (lambda: sf.Flatten()(X[0]), "be dimensions of the input, in this order, got 1 and -1 for shape (3,)"),
    (lambda: sf.Flatten(replicas=2)(X), "Flatten: the input must have shape (2, N, ...), got (5, 3)"),
    (
        lambda: sf.Dropout(0.5, generator=[torch.Generator(), torch.Generator()])(X),
        "Dropout: the input must have shape (2, ...), got (5, 3)",
    ),
    (
        lambda: init.xavier_normal_(torch.ones(3)),
        "a weight must have shape (out, in, *kernel) with replicas=",
    ),
    # Types
    (lambda: sf.Linear(3, 4)(X.double()), "dtype torch.float32, got torch.float64"),
    (lambda: sf.Conv2d(3, 4, 3)(IMAGES.double()), "dtype torch.float32, got torch.float64"),
    (lambda: sf.BatchNorm1d(3)(X.double()), "dtype torch.float32, got torch.float64"),
    (lambda: after_forward(sf.ReLU()).backward(X.double()), "dtype torch.float32, got torch.float64"),
    (lambda: sf.MSELoss()(X, X.double()), "dtype torch.float32, got torch.float64"),
    (lambda: sf.BCEWithLogitsLoss()(X, X.long()), "dtype torch.float32, got torch.int64"),
    (lambda: sf.MSELoss()(X.long(), X.long()), "must hold floating-point numbers, got torch.int64"),
    (
        lambda: sf.CrossEntropyLoss()(X, X[:, 0]),
        "the target must hold classes as integers, got torch.float32",
    ),
    (lambda: sf.NLLLoss()(X, X), "the target must hold classes as integers, got torch.float32"),
    (lambda: sf.CrossEntropyLoss()(X, torch.tensor([0, 1, 2, 3, 0])), "must lie in 0..2, got 3"),
    (lambda: sf.CrossEntropyLoss()(X, torch.tensor([0, 1, 2, -1, 0])), "must lie in 0..2, got -1"),
    (
        lambda: sf.CrossEntropyLoss(ignore_index=255)(X, torch.tensor([0, 255, 2, 7, 0])),
        "must lie in 0..2, got 7",
    ),
    (
        lambda: sf.CrossEntropyLoss()(X, torch.tensor([0, -100, 2, -1, 0])),
        "must lie in 0..2, got -1",
    ),
    # Autograd
    (lambda: sf.Linear(3, 4)(LEAF), "Linear: the input must not require grad"),
    (lambda: sf.Sequential(sf.Dropout().eval())(LEAF), "Dropout: the input must not require grad"),
    (lambda: sf.MSELoss()(LEAF, X), "MSELoss: prediction and target must not require grad"),
    (lambda: sf.Parameter(LEAF), "value must not require grad"),
    # Arguments of layers and losses
    (lambda: sf.Linear(0, 4), "in_features must be at least 1, got 0"),
    (lambda: sf.Linear(3, -1), "out_features must be at least 1, got -1"),
    (lambda: sf.Linear(3, 4, replicas=0), "replicas must be at least 1, got 0"),
    (lambda: sf.Sequential(), "Sequential must hold at least one module, got none"),
    (lambda: sf.Sequential(sf.Linear(1, 1), sf.Tanh), "must hold modules, got <class"),  # type: ignore[arg-type]
    (lambda: sf.Sequential(SHARED, sf.Sequential(SHARED)), "every module once, got this ReLU() twice"),
    (
        lambda: sf.SharedTrunk(SHARED, SHARED),
        "SharedTrunk must hold every module once, got this ReLU() twice",
    ),
    (lambda: sf.Flatten(replicas=0), "replicas must be at least 1, got 0"),
    (lambda: sf.Conv2d(0, 4, 3), "in_channels must be at least 1, got 0"),
    (lambda: sf.Conv2d(3, 4, 3, stride=0), "stride must be at least 1, got 0"),
    (lambda: sf.Conv2d(3, 4, (3, 3, 3)), "kernel_size must be one number or two, got (3, 3, 3)"),
    (lambda: sf.Conv2d(3, 4, 3, 2, "same"), "padding 'same' needs stride 1, got (2, 2)"),
    (lambda: sf.Conv2d(3, 4, 3, padding="full"), "padding must be one of same, valid, got 'full'"),
    (lambda: sf.Conv2d(3, 4, 3, groups=2), "in_channels must be a multiple of groups 2, got 3"),
    (lambda: sf.AvgPool2d(2, padding=2), "padding must be at most half of kernel_size 2, got 2"),
    (lambda: sf.AdaptiveAvgPool2d((0, 1)), "output_size must be at least 1, got 0"),
    (lambda: sf.Embedding(3, 2, padding_idx=3), "padding_idx must be one of 3 words, got 3"),
    (lambda: sf.Embedding(3, 2)(torch.tensor([3])), "the input must lie in 0..2, got 3"),
    (lambda: sf.Embedding(3, 2)(X), "the input must hold words as whole numbers, got torch.float32"),
    (lambda: sf.RNNCell(3, 4, nonlinearity="sin"), "nonlinearity must be one of tanh, relu, got 'sin'"),
    (lambda: sf.LayerNorm((3, 0)), "normalized_shape must be at least 1, got 0"),
    (lambda: sf.Softplus(beta=0), "beta must be above 0, got 0"),
    (lambda: sf.GELU("fast"), "approximate must be one of none, tanh, got 'fast'"),
    (lambda: sf.Conv2d(3, 4, 3, padding=-1), "padding must be at least 0, got -1"),
    (lambda: sf.MaxPool2d(0), "kernel_size must be at least 1, got 0"),
    (lambda: sf.MaxPool2d(2, 0), "stride must be at least 1, got 0"),
    (lambda: sf.BatchNorm1d(0), "num_features must be at least 1, got 0"),
    (lambda: sf.BatchNorm2d(3, eps=-1), "eps must be at least 0, got -1"),
    (lambda: sf.BatchNorm2d(3, momentum=2), "momentum must lie in [0, 1], got 2"),
    (lambda: sf.Dropout(1.5), "p must lie in [0, 1], got 1.5"),
    (lambda: sf.Dropout(-0.1), "p must lie in [0, 1], got -0.1"),
    (lambda: sf.MSELoss(reduction="average"), "reduction must be one of mean, sum, none, got 'average'"),
    (lambda: sf.BCEWithLogitsLoss(replicas=0), "replicas must be at least 1, got 0"),
    (lambda: sf.HuberLoss(delta=0), "delta must be above 0, got 0"),
    (lambda: sf.CrossEntropyLoss(label_smoothing=2), "label_smoothing must lie in [0, 1], got 2"),
    # Arguments of optimisers
    (lambda: sf.SGD([]), "params must hold at least one parameter, got none"),
    (lambda: sf.SGD(sf.Sequential(sf.Tanh())), "(model.parameters()), got Tanh()"),  # type: ignore[arg-type]
    (lambda: sf.SGD(weights(2), lr=-0.1), "lr must be at least 0, got -0.1"),
    (lambda: sf.SGD(weights(2), lr=float("nan")), "lr must be at least 0, got nan"),
    (lambda: sf.Adam(weights(2), weight_decay=-1), "weight_decay must be at least 0, got -1"),
    (lambda: sf.SGD(weights(2, replicas=2), lr=torch.tensor([1, -1])), "for every replica, got [1, -1]"),
    (lambda: sf.SGD(weights(2, replicas=2), lr=torch.ones(3)), "got shape (3,) for 2 replicas"),
    (lambda: sf.SGD(weights(2), lr=torch.ones(2)), "got shape (2,) for no replicas"),
    (lambda: sf.SGD(weights(2), momentum=-1), "momentum must be at least 0, got -1"),
    (lambda: sf.SGD(weights(2), nesterov=True), "nesterov needs momentum above 0"),
    (
        lambda: sf.SGD(weights(2), momentum=0.9, dampening=0.1, nesterov=True),
        "nesterov needs momentum above 0",
    ),
    (lambda: sf.Adam(weights(2), betas=(1.0, 0.9)), "betas[0] must lie in [0, 1), got 1.0"),
    (lambda: sf.AdamW(weights(2), betas=(0.9, -0.1)), "betas[1] must lie in [0, 1), got -0.1"),
    (lambda: sf.Adam(weights(2), eps=-1e-8), "eps must be at least 0, got -1e-08"),
    (lambda: sf.RMSprop(weights(2), alpha=1.1), "alpha must lie in [0, 1], got 1.1"),
    (lambda: sf.Adagrad(weights(2), lr_decay=-1), "lr_decay must be at least 0, got -1"),
    # Arguments of schedules
    (lambda: sf.StepLR(optimizer(), 0), "step_size must be at least 1, got 0"),
    (lambda: sf.CosineAnnealingLR(optimizer(), 0), "T_max must be at least 1, got 0"),
    (lambda: sf.OneCycleLR(optimizer(), 0.1), "total_steps, or epochs and steps_per_epoch, must be given"),
    (lambda: sf.OneCycleLR(optimizer(), 0.1, 0), "total_steps must be at least 1, got 0"),
    (
        lambda: sf.OneCycleLR(optimizer(), 0.1, epochs=1, steps_per_epoch=0),
        "steps_per_epoch must be at least 1",
    ),
    (lambda: sf.OneCycleLR(optimizer(), -1, 9), "max_lr must be at least 0, got -1"),
    (lambda: sf.OneCycleLR(optimizer(), 0.1, 9, pct_start=1.1), "pct_start must lie in [0, 1], got 1.1"),
    (
        lambda: sf.OneCycleLR(optimizer(), 0.1, 9, anneal_strategy="sin"),
        "must be one of cos, linear, got 'sin'",
    ),
    (lambda: sf.OneCycleLR(optimizer(), 0.1, 9, div_factor=0), "div_factor must be above 0, got 0"),
    # Initialisation
    (
        lambda: init.calculate_gain("swish"),
        "nonlinearity must be one of linear, sigmoid, tanh, relu, leaky_relu",
    ),
    (lambda: init.kaiming_normal_(X, mode="fan"), "mode must be one of fan_in, fan_out, got 'fan'"),
    (lambda: init.paper_(X, None, "sigmoid"), "nonlinearity must be one of tanh, relu, got 'sigmoid'"),
    # States
    (lambda: sf.Linear(3, 4).load_state_dict({"weight": X}), "missing: bias"),
    (
        lambda: sf.Linear(3, 5, bias=False).load_state_dict({"weight": X, "bias": X, "b": X}),
        "no other names, got: bias, b",
    ),
    (
        lambda: sf.Linear(3, 4, bias=False).load_state_dict({"weight": X}),
        "weight must have shape (4, 3), got (5, 3)",
    ),
    (lambda: sf.stack_states([]), "at least one state_dict, got none"),
    (lambda: sf.stack_states([{"a": X}, {"b": X}]), "the same names, got ['a'] and ['b']"),
    (lambda: sf.stack_states([{"a": X}, {"a": X.T}]), "a must have one shape, got (5, 3) and (3, 5)"),
    (lambda: sf.replica_state({"a": X}, 5), "replica must lie in 0..4, got 5 for a"),
    (lambda: sf.replica_state({"a": torch.zeros(())}, 0), "(R, ...), got a single number for a"),
]

RUNTIME_ERRORS: list[Callable[[], Any]] = [
    lambda: sf.Linear(3, 4).backward(X),
    lambda: sf.Sequential(sf.Linear(3, 3), sf.ReLU()).backward(X),
    lambda: sf.Dropout().backward(X),
    lambda: sf.Conv2d(3, 4, 3).backward(IMAGES),
    lambda: sf.MaxPool2d(2).backward(IMAGES),
    lambda: sf.BatchNorm1d(3).backward(X),
    lambda: sf.SharedTrunk(sf.Flatten(), sf.ReLU()).backward(X),
    lambda: sf.MSELoss().backward(),
    lambda: sf.CrossEntropyLoss().backward(),
]

UNWRITTEN: list[Callable[[], Any]] = [
    lambda: sf.Module()(X),
    lambda: sf.Module().backward(X),
    lambda: sf.Criterion()(X, X),
    lambda: sf.Criterion().backward(),
    lambda: sf.Optimizer(weights(2), 0.1, 0).step(),
    lambda: sf.Optimizer(weights(2), 0.1, 0).set_momentum(0.9),
    lambda: sf.LRScheduler(optimizer()),
]


@pytest.mark.parametrize(("mistake", "message"), VALUE_ERRORS, ids=[message for _, message in VALUE_ERRORS])
def test_a_mistake_is_named_in_one_line(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        mistake()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mistake", RUNTIME_ERRORS)
def test_backward_before_forward_is_refused(mistake: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match="backward before forward"):
        mistake()


@pytest.mark.parametrize("mistake", UNWRITTEN)
def test_a_base_class_says_what_its_subclass_must_define(mistake: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"defines no|has no"):
        mistake()
