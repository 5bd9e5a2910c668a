"""What a compiled step refuses: other layers, what does not belong together, batches that do not fit."""

import pytest
import torch
from scratch_twins import draw, paper_net

import scratch_framework as sf
from scratch_framework.fast.compiled import compile_step

X, Y = draw(5, 2), draw(5, 1)


def compile_chain(*modules: sf.Module, criterion: sf.Criterion | None = None) -> object:
    net = sf.Sequential(*modules)
    return compile_step(net, criterion or sf.MSELoss(), sf.SGD(net.parameters()))


class OwnReLU(sf.ReLU):
    """A subclass may compute anything."""


@pytest.mark.parametrize(
    "modules",
    [
        [sf.Linear(2, 2), sf.Dropout(0.5)],
        [sf.Linear(2, 2), sf.Softmax()],
        [sf.Linear(2, 2), OwnReLU()],
        [sf.Linear(2, 2), sf.Tanh(), sf.ReLU()],
        [sf.Tanh(), sf.Linear(2, 2)],
    ],
)
def test_what_it_cannot_compile_is_named(modules: list[sf.Module]) -> None:
    culprit = type(modules[0] if isinstance(modules[0], sf.Tanh) else modules[-1]).__name__
    with pytest.raises(ValueError, match=rf"compile knows chains of Linear.*got {culprit}\(.*at place \d"):
        compile_chain(*modules)


def test_slopes_that_hide_the_sign_are_refused() -> None:
    with pytest.raises(ValueError, match=r"negative_slope in \[0, 1\], got -0.1"):
        compile_chain(sf.Linear(2, 2), sf.LeakyReLU(-0.1))


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"same replicas, got \[None, 3\]"):
        compile_chain(sf.Linear(2, 2), criterion=sf.MSELoss(replicas=3))
    with pytest.raises(ValueError, match=r"same dtype, got \[torch.float32, torch.float64\]"):
        compile_chain(sf.Linear(2, 2), sf.Linear(2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="must reduce its losses, got reduction 'none'"):
        compile_chain(sf.Linear(2, 2), criterion=sf.MSELoss(reduction="none"))
    net, other = paper_net(), paper_net()
    with pytest.raises(ValueError, match="parameters of the model, all and in their order"):
        compile_step(net, sf.MSELoss(), sf.SGD(other.parameters()))
    with pytest.raises(ValueError, match="SGD, Adam, AdamW, RMSprop, Adagrad, got Own"):
        compile_step(net, sf.MSELoss(), type("Own", (sf.SGD,), {})(net.parameters()))


def test_batches_that_do_not_fit_get_the_plain_nets_errors() -> None:
    net = paper_net()
    step = compile_step(net, sf.MSELoss(), sf.SGD(net.parameters()))
    step(X, Y)
    with pytest.raises(ValueError, match=r"must have shape \(..., 2\) .* got \(5, 3\)"):
        step(draw(5, 3), Y)
    with pytest.raises(ValueError, match=r"must have shape \(N, 2\), got \(1, 5, 2\)"):
        step(X[None], Y[None])
    with pytest.raises(ValueError, match=r"target must have shape \(5, 1\), got \(5,\)"):
        step(X, Y[:, 0])
    with pytest.raises(ValueError, match="dtype"):
        step(X.float(), Y)
    with pytest.raises(ValueError, match="dtype"):
        step(X, Y.float())
    with pytest.raises(ValueError, match="must not require grad"):
        step(X.clone().requires_grad_(), Y)


def test_a_step_that_another_compilation_replaced_says_so() -> None:
    net = paper_net()
    first, second = (compile_step(net, sf.MSELoss(), sf.SGD(net.parameters())) for _ in range(2))
    second(X, Y)
    with pytest.raises(RuntimeError, match="compiled again"):
        first(X, Y)
