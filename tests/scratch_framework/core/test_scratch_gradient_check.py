"""The gradient check finds mistakes, and finds none where there are none."""

from math import inf

import torch
from scratch_twins import draw, paper_net
from torch import Generator, Tensor

import scratch_framework as sf

F64 = torch.float64


class Unsummed(sf.Linear):
    """The mistake of the paper's code: a bias's gradient that is not summed over the batch."""

    def backward(self, grad_output: Tensor) -> Tensor:
        """As `Linear`'s, but for dL/db."""
        x_grad = super().backward(grad_output)
        assert self.bias is not None
        self.bias.grad = grad_output
        return x_grad


class Halved(sf.Linear):
    """A mistake in the gradient of the input."""

    def backward(self, grad_output: Tensor) -> Tensor:
        """As `Linear`'s, but for dL/dx."""
        return super().backward(grad_output) / 2


def check(module: sf.Module) -> dict[str, float]:
    return sf.check_gradients(module, draw(5, 2), Generator().manual_seed(1))


def test_a_right_net_passes_by_the_names_of_its_parameters() -> None:
    net = paper_net()
    errors = check(net)
    assert list(errors) == ["x", *net.state_dict()]
    assert 0 < max(errors.values()) < 1e-8


def test_a_wrong_gradient_is_found_where_it_is_and_nowhere_else() -> None:
    errors = check(Halved(2, 4, dtype=F64))
    assert errors.pop("x") > 0.1
    assert max(errors.values()) < 1e-8


def test_a_gradient_of_another_shape_is_wrong_though_it_would_broadcast() -> None:
    errors = check(Unsummed(2, 4, dtype=F64))
    assert errors.pop("bias") == inf
    assert max(errors.values()) < 1e-8


def test_earlier_gradients_do_not_count_and_values_are_moved_back() -> None:
    layer = sf.Linear(2, 4, dtype=F64)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    check(layer)
    assert max(check(layer).values()) < 1e-8
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
