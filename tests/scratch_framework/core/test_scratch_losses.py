"""Losses, with all reductions and replicas, against torch.nn and against finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_same, draw
from torch import Tensor, nn

import scratch_framework as sf

SIZES = st.integers(1, 6)
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])

Pair = tuple[Callable[..., sf.Criterion], Callable[..., nn.Module]]
NUMERIC: list[Pair] = [
    (sf.MSELoss, nn.MSELoss),
    (sf.L1Loss, nn.L1Loss),
    (partial(sf.HuberLoss, delta=0.3), partial(nn.HuberLoss, delta=0.3)),
    (sf.BCEWithLogitsLoss, nn.BCEWithLogitsLoss),
]
WEIGHT, POS_WEIGHT, CLASS_WEIGHT = draw(5, 3).abs(), draw(3, seed=1).abs(), draw(3, seed=2).abs()


def assert_follows(ours: sf.Criterion, theirs: nn.Module, x: Tensor, target: Tensor) -> None:
    leaf = x.clone().requires_grad_()
    loss = theirs(leaf, target)
    weight = draw(*loss.shape, seed=9)
    assert_same(ours(x, target), loss)
    (weighted,) = torch.autograd.grad(loss, leaf, weight, retain_graph=True)
    assert_same(ours.backward(weight), weighted)
    (unweighted,) = torch.autograd.grad(loss.sum(), leaf)
    assert_same(ours.backward(), unweighted)


@REDUCTIONS
@pytest.mark.parametrize(("ours", "theirs"), NUMERIC)
@settings(max_examples=15)
@given(shape=st.lists(SIZES, min_size=1, max_size=3), seed=SIZES, scale=st.sampled_from([1.0, 1000.0]))
def test_a_loss_of_numbers_and_its_gradient_are_what_torch_finds(
    ours: Callable[..., sf.Criterion],
    theirs: Callable[..., nn.Module],
    reduction: str,
    shape: list[int],
    seed: int,
    scale: float,
) -> None:
    x, target = scale * draw(*shape, seed=seed), draw(*shape, seed=seed + 1).sigmoid()
    assert_follows(ours(reduction=reduction), theirs(reduction=reduction), x, target)


@REDUCTIONS
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@settings(max_examples=15)
@given(points=SIZES, classes=SIZES, seed=SIZES, scale=st.sampled_from([1.0, 1000.0]))
def test_cross_entropy_and_its_gradient_are_what_torch_finds(
    reduction: str, smoothing: float, points: int, classes: int, seed: int, scale: float
) -> None:
    x = scale * draw(points, classes, seed=seed)
    target = torch.arange(points) * seed % classes
    ours = sf.CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing)
    assert_follows(ours, nn.CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing), x, target)


def case(criterion: sf.Criterion, lead: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A prediction of 3 numbers a point and a target that suit the criterion."""
    x = draw(*lead, 3)
    if isinstance(criterion, (sf.CrossEntropyLoss, sf.NLLLoss)):
        return x, torch.arange(x.numel() // 3).view(lead) % 3
    return x, draw(*lead, 3, seed=1).sigmoid()


CRITERIA = pytest.mark.parametrize(
    "kind",
    [
        *(sf.MSELoss, sf.L1Loss, partial(sf.HuberLoss, delta=0.5)),
        *(sf.BCEWithLogitsLoss, partial(sf.BCEWithLogitsLoss, WEIGHT[:1], pos_weight=POS_WEIGHT)),
        *(sf.NLLLoss, partial(sf.NLLLoss, CLASS_WEIGHT, ignore_index=1)),
        *(
            sf.CrossEntropyLoss,
            partial(sf.CrossEntropyLoss, CLASS_WEIGHT, ignore_index=1, label_smoothing=0.2),
        ),
    ],
)


@REDUCTIONS
@CRITERIA
def test_the_gradient_of_a_loss_is_what_finite_differences_find(
    kind: Callable[..., sf.Criterion], reduction: str
) -> None:
    criterion = kind(reduction=reduction)
    x, target = case(criterion, (4,))
    criterion(x, target)
    gradient = criterion.backward()
    assert_same(gradient, sf.numeric_gradient(lambda x: criterion(x, target).sum(), x), 1e-8)


@REDUCTIONS
@CRITERIA
@pytest.mark.parametrize("shared", [False, True])
def test_each_replica_has_the_loss_and_gradient_that_it_has_alone(
    kind: Callable[..., sf.Criterion], reduction: str, shared: bool
) -> None:
    together, alone = kind(reduction=reduction, replicas=2), kind(reduction=reduction)
    x, target = case(together, (2, 5))
    if shared:
        target = target[0]
    loss = together(x, target)
    gradient = together.backward()
    assert len(loss) == 2
    for k in range(2):
        assert_same(loss[k], alone(x[k], target if shared else target[k]))
        assert_same(gradient[k], alone.backward())


@pytest.mark.parametrize("ignored", [-100, -1, 0, 2, 255])
@pytest.mark.parametrize("count", [0, 2, 4])
def test_points_of_an_ignored_class_are_left_out_as_by_torch(ignored: int, count: int) -> None:
    target = torch.tensor([2, 1, 0, 1, 2]) if ignored != 2 else torch.tensor([0, 1, 0, 1, 0])
    target[:count] = ignored
    ours, theirs = sf.CrossEntropyLoss(ignore_index=ignored), nn.CrossEntropyLoss(ignore_index=ignored)
    assert_follows(ours, theirs, draw(5, 3), target)


def test_a_weight_of_the_loss_is_a_weight_of_each_replica() -> None:
    criterion = sf.MSELoss(replicas=2)
    x, target = case(criterion, (2, 5))
    criterion(x, target)
    plain = criterion.backward()
    weighted = criterion.backward(torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert_same(weighted, plain * torch.tensor([1.0, 3.0], dtype=torch.float64).view(2, 1, 1))


def test_cross_entropy_takes_an_impossible_class_as_torch_does() -> None:
    x = torch.tensor([[0.0, -torch.inf, 1.0]], dtype=torch.float64)
    assert_follows(sf.CrossEntropyLoss(), nn.CrossEntropyLoss(), x, torch.tensor([2]))


@REDUCTIONS
@pytest.mark.parametrize("weight", [None, WEIGHT, WEIGHT[:, :1], WEIGHT[0]])
@pytest.mark.parametrize("pos_weight", [None, POS_WEIGHT])
def test_weights_of_yes_and_no_count_as_in_torch(
    reduction: str, weight: Tensor | None, pos_weight: Tensor | None
) -> None:
    options: dict[str, Any] = {"weight": weight, "pos_weight": pos_weight, "reduction": reduction}
    x, target = 50 * draw(5, 3, seed=4), draw(5, 3, seed=5).sigmoid()
    assert_follows(sf.BCEWithLogitsLoss(**options), nn.BCEWithLogitsLoss(**options), x, target)


@REDUCTIONS
@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 2, 3)])
def test_replicas_may_have_probabilities_as_targets_and_classes_by_pixel(
    reduction: str, shape: tuple[int, ...]
) -> None:
    together = sf.CrossEntropyLoss(reduction=reduction, replicas=2)
    alone = sf.CrossEntropyLoss(reduction=reduction)
    x = draw(2, *shape)
    for target in (draw(2, *shape, seed=1).softmax(2), torch.arange(2 * 4 * shape[2]).view(2, 4, -1) % 2):
        loss, gradient = together(x, target), together.backward()
        for k in range(2):
            assert_same(loss[k], alone(x[k], target[k]))
            assert_same(gradient[k], alone.backward())


def test_a_loss_prints_its_arguments() -> None:
    assert repr(sf.MSELoss()) == "MSELoss(reduction='mean')"
    assert repr(sf.CrossEntropyLoss(reduction="sum", label_smoothing=0.1, replicas=4)) == (
        "CrossEntropyLoss(reduction='sum', replicas=4, label_smoothing=0.1)"
    )
