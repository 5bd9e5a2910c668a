"""A backward pass is that of one forward pass, at its numbers; else it is refused, never silently wrong."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scratch_twins import assert_same, draw
from torch import Tensor

import scratch_framework as sf

F64 = torch.float64
CHANGED = "was changed in place after forward; change a copy, or call backward first"


def linear() -> sf.Linear:
    return sf.Linear(3, 3, dtype=F64)


CHANGES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "input": lambda x, y: x.mul_(0),
    "a part of the input": lambda x, y: x[0].zero_(),
    "output": lambda x, y: y.add_(1),
    "nothing": lambda x, y: None,
}
LAYERS: list[tuple[Callable[[], sf.Module], tuple[int, ...]]] = [
    (linear, (4, 3)),
    (sf.ReLU, (4, 3)),
    (sf.LeakyReLU, (4, 3)),
    (sf.Tanh, (4, 3)),
    (sf.Sigmoid, (4, 3)),
    (sf.Softmax, (4, 3)),
    (sf.Dropout, (4, 3)),
    (sf.Flatten, (4, 3, 2)),
    (lambda: sf.Conv2d(2, 3, 2, dtype=F64), (2, 2, 4, 4)),
    (lambda: sf.MaxPool2d(2), (2, 2, 4, 4)),
    (lambda: sf.BatchNorm1d(3, dtype=F64), (4, 3)),
]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_a_tensor_changed_in_place_is_refused_or_does_no_harm(
    name: str, make: Callable[[], sf.Module], shape: tuple[int, ...]
) -> None:
    modules, x = [make() for _ in range(2)], draw(*shape)
    modules[1].load_state_dict(modules[0].state_dict())
    for module in modules:
        torch.manual_seed(0)  # of Dropout's mask
        y = module(x)
        grad = draw(*y.shape, seed=1)
        if module is modules[0]:
            expected = module.backward(grad)
    CHANGES[name](x, y)
    try:
        found = modules[1].backward(grad)
    except RuntimeError as error:
        assert CHANGED in str(error)  # noqa: PT017  # either way is right
        assert name != "nothing"
    else:
        assert_same(found, expected)


@pytest.mark.parametrize("make", [linear, lambda: sf.Conv2d(3, 2, 1, dtype=F64)])
def test_a_step_between_forward_and_backward_is_refused_as_torch_does(make: Callable[[], sf.Module]) -> None:
    layer = make()
    x = draw(4, 3) if isinstance(layer, sf.Linear) else draw(4, 3, 2, 2)
    y = layer(x)
    layer.weight.grad.fill_(1)  # type: ignore[attr-defined]
    sf.SGD(layer.parameters(), lr=0.1).step()
    with pytest.raises(RuntimeError, match=CHANGED):
        layer.backward(torch.ones_like(y))
    layer.backward(torch.ones_like(layer(x)))


def test_a_value_put_in_anothers_place_is_refused() -> None:
    layer = linear()
    y = layer(draw(4, 3))
    layer.weight.value = draw(3, 3)
    with pytest.raises(RuntimeError, match=CHANGED):
        layer.backward(torch.ones_like(y))


class Residual(sf.Module):
    """y = x + tanh(x), the sum in place."""

    def __init__(self) -> None:
        self.act = sf.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(x)
        y += x
        return y

    def backward(self, grad_output: Tensor) -> Tensor:
        return self.act.backward(grad_output) + grad_output


def test_a_sum_in_place_of_an_output_is_refused() -> None:
    net = Residual()
    y = net(draw(4, 3))
    with pytest.raises(RuntimeError, match=CHANGED):
        net.backward(torch.ones_like(y))


@pytest.mark.parametrize("criterion", [sf.BCEWithLogitsLoss(), sf.CrossEntropyLoss()])
def test_a_target_changed_in_place_is_refused_or_does_no_harm(criterion: sf.Criterion) -> None:
    target = (
        torch.ones(4).long() if isinstance(criterion, sf.CrossEntropyLoss) else torch.ones(4, 3, dtype=F64)
    )
    criterion(draw(4, 3), target)
    expected = criterion.backward()
    target.zero_()
    if isinstance(criterion, sf.CrossEntropyLoss):  # has made shares of the classes
        assert_same(criterion.backward(), expected)
    else:
        with pytest.raises(RuntimeError, match=CHANGED):
            criterion.backward()


class Twice(sf.Module):
    """A user's own module that applies one layer in two places."""

    def __init__(self) -> None:
        self.fc, self.act = linear(), sf.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.fc(x)))

    def backward(self, grad_output: Tensor) -> Tensor:
        return self.fc.backward(self.act.backward(self.fc.backward(grad_output)))


def test_a_module_used_twice_in_a_forward_pass_is_refused() -> None:
    net = Twice()
    y = net(draw(4, 3))
    for _ in range(2):  # in the second step too
        with pytest.raises(RuntimeError, match="Linear: a second backward, but of the forward passes before"):
            net.backward(torch.ones_like(y))
        net(draw(4, 3))


def test_a_second_backward_of_one_forward_adds_the_gradient_again() -> None:
    layer, grad = linear(), draw(4, 3)
    layer(draw(4, 3))
    layer.backward(grad)
    once = layer.weight.grad.clone()
    layer.backward(grad)
    assert_same(layer.weight.grad, 2 * once)


def test_two_passes_that_are_taken_out_and_given_back_are_both_differentiated() -> None:
    layer, grad, passes = linear(), draw(4, 3), []
    for seed in range(2):
        layer(draw(4, 3, seed=seed))
        passes.append(layer.saved_passes())
    for forward_pass in reversed(passes):
        layer.restore(forward_pass)
        layer.backward(grad)
    assert_same(layer.weight.grad, grad.mT @ (draw(4, 3) + draw(4, 3, seed=1)))


def net() -> sf.Sequential:
    return sf.Sequential(linear(), sf.Tanh(), linear(), sf.Dropout(0.5).eval())


@pytest.mark.parametrize("criterion", [sf.MSELoss(), sf.MSELoss(reduction="sum"), sf.BCEWithLogitsLoss()])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_forward_pass_for_validation_before_backward_is_refused(
    criterion: sf.Criterion, weighted: bool, late: bool
) -> None:
    model, weight = net(), torch.ones((), dtype=F64) if weighted else None
    criterion(model(draw(4, 3)), torch.ones(4, 3, dtype=F64))
    grad = criterion.backward(weight)
    model(draw(4, 3, seed=1))  # a batch of the same size, so that shapes do not tell
    if not late:
        grad = criterion.backward(weight)
    with pytest.raises(RuntimeError, match="belongs to an earlier output: forward ran again before backward"):
        model.backward(grad)


def test_forward_passes_without_backward_do_no_harm() -> None:
    model, other, criterion = net(), net(), sf.MSELoss()
    other.load_state_dict(model.state_dict())
    x, target = draw(4, 3), draw(4, 3, seed=1)
    for _ in range(3):
        model(draw(4, 3, seed=2))
    for one in (model, other):
        criterion(one(x), target)
        one.backward(criterion.backward())
    for (_, grad), (_, same) in zip(model.param(), other.param(), strict=True):
        assert torch.equal(grad, same)


def test_an_output_that_a_pass_is_written_on_is_saved_and_loaded_as_any_tensor() -> None:
    file, y = io.BytesIO(), linear()(draw(4, 3))
    torch.save(y, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True), y)
