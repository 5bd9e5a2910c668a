"""Proof that replicas compute what each ordinary net computes alone.

Side by side, a module's own `forward` may mix replicas, for instance where it concatenates along dimension 1
or takes its softmax; by vmap, all replicas get the same number of Python's `random`. So one batch goes
through both, in float64, and outputs, gradients and statistics are compared; and so does its first sample.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Number
from operator import itemgetter
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.one_batch import fold

SAMPLES = 8
# Samples, and whether in training; a forward may treat a single sample in another way.
PASSES = ((SAMPLES, True), (SAMPLES, False), (1, False), (1, True))
MOST_NETS = 16  # ordinary nets that are compared, spread over all replicas
# Of the largest number; in float64 rounding is a billion times smaller, and mixing much larger.
TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3}
COARSE = 3e-2  # in other precisions

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


Call = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]


class Difference(Exception):  # noqa: N818  # it is a finding, not an error of the program
    """Replicas compute something else than their ordinary nets; the message says what differs."""


class _NotInDouble(Exception):  # noqa: N818
    """The ordinary net itself cannot compute in float64, for instance because it calls ``float()``."""


def prove(
    together: nn.Module,
    replicas: int,
    single: Callable[[nn.Module, int], nn.Module],
    inputs: Inputs,
    call: Call | None = None,
) -> list[int]:
    """Compare replicas with their ordinary nets.

    Args:
        together: What holds the tensors of R replicas; it is not changed.
        replicas: Number of replicas R.
        single: From R replicas and a number to the ordinary net of this number, a new one.
        inputs: Positional and named inputs of the net, each (N, R, ...). Samples are taken of them, others
            for each replica, and numbers with a fraction are scaled at random.
        call: Calls a copy of `together` with inputs (N, R, ...), for outputs (N, R, ...). By default replicas
            lie side by side, and it is called with (N, R * D, ...).

    Returns:
        The number of dimensions of each tensor that an ordinary net returns.

    Raises:
        Difference: They compute something else.
    """
    with _undisturbed():
        try:
            return _prove(together, replicas, single, inputs, call, double=True)
        except _NotInDouble:
            return _prove(together, replicas, single, inputs, call, double=False)


def _prove(
    together: nn.Module,
    replicas: int,
    single: Callable[[nn.Module, int], nn.Module],
    inputs: Inputs,
    call: Call | None,
    double: bool,
) -> list[int]:
    sampled, ours = _samples(inputs, replicas, double), _perturbed(together, double)
    numbers = range(0, replicas, -(-replicas // MOST_NETS))
    theirs, dims = [single(ours, r) for r in numbers], list[int]()
    for samples, training in PASSES:
        some: Inputs = tree_map_only(Tensor, itemgetter(slice(samples)), sampled)
        if samples == 1:
            numbers, theirs = numbers[:2], theirs[:2]
        for net in (ours, *theirs):
            _without_dropout(net.train(training))
        with torch.set_grad_enabled(training):
            try:
                alone = _outputs_alone(theirs, numbers, *some)
            except Exception as error:  # of any kind: it is a user's code
                if samples == 1:  # batch normalisation, for instance, cannot train on it
                    break
                if double:
                    raise _NotInDouble from error
                if training:
                    raise
                continue  # a net that differentiates in its forward cannot be evaluated without gradients
            try:
                found = _compare(ours, theirs, numbers, some, replicas, call, alone)
            except Difference as why:
                raise Difference(f"{why}, in a batch of one sample" if samples == 1 else str(why)) from why
        dims = dims or found
    return dims


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Gradients, no autocast, and torch's random numbers as they were afterwards."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.random.fork_rng(devices=[]),
    ):
        yield


def _samples(inputs: Inputs, replicas: int, double: bool) -> Inputs:
    generator = Generator().manual_seed(0)

    def sample(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if len(x) == 0:
            raise ValueError("the first batch must have a sample, by which the replicas can be proven")
        x = x.detach().cpu()
        numbers = torch.arange(replicas)
        rows = (torch.arange(SAMPLES).unsqueeze(1) + numbers) % len(x)  # (SAMPLES, R)
        x = x[rows, numbers]
        if not x.is_floating_point():
            return x
        scale = 0.5 + torch.rand(SAMPLES, replicas, generator=generator, dtype=torch.float64)
        return (x.double() * scale.view(SAMPLES, replicas, *[1] * (x.dim() - 2))).to(
            torch.float64 if double else x.dtype
        )

    return tree_map(sample, inputs)


def _perturbed(together: nn.Module, double: bool) -> nn.Module:
    """A copy on the CPU with other weights: such as start at 0 hide what they multiply.

    They are contiguous: torch has wrong gradients of single images for weights with channels last.
    """
    net, generator = copy.deepcopy(together).cpu(), Generator().manual_seed(0)
    net = net.double() if double else net
    for parameter in net.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = _fresh(parameter.data + (0.05 * noise).to(parameter.dtype))
        parameter.grad = None
    return net


def _without_dropout(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, Dropout | nn.modules.dropout._DropoutNd):
            layer.eval()
        elif isinstance(layer, nn.MultiheadAttention):
            layer.dropout = 0.0


def _outputs_alone(
    nets: Sequence[nn.Module], numbers: Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[list[Any]]:
    own = [tree_map_only(Tensor, partial(_fresh_of, replica=r), (args, kwargs)) for r in numbers]
    return [tree_leaves(net(*args, **kwargs)) for net, (args, kwargs) in zip(nets, own, strict=True)]


def _fresh_of(x: Tensor, replica: int) -> Tensor:
    return _fresh(x[:, replica])


def _fresh(x: Tensor) -> Tensor:
    """A copy, which a forward may change in place, and which no layout of the batch makes special."""
    return x.clone(memory_format=torch.contiguous_format)


def _compare(
    ours: nn.Module,
    theirs: Sequence[nn.Module],
    numbers: Sequence[int],
    inputs: Inputs,
    replicas: int,
    call: Call | None,
    alone: list[list[Any]],
) -> list[int]:
    for y in alone[0]:
        if not isinstance(y, Tensor | Number | str | None):
            raise ValueError(
                f"forward must return tensors, in tuples, lists and dicts, got {type(y).__name__}"
            )
    if call is not None:  # a number for a whole batch is (R,)
        together = [
            y.unsqueeze(0) if isinstance(y, Tensor) and y.dim() == 1 else y
            for y in tree_leaves(call(ours, *tree_map_only(Tensor, _fresh, inputs)))
        ]
    else:
        together = _side_by_side(ours, *tree_map_only(Tensor, lambda x: _fresh(fold(x)), inputs))
    for r, own in zip(numbers, alone, strict=True):
        if len(own) != len(together):
            raise Difference("its outputs are other ones")
        for ours_y, y in zip(together, own, strict=True):
            if isinstance(y, Tensor):
                block = _block(ours_y, y, r, replicas) if call is None else ours_y[:, r].reshape(y.shape)
                _compare_tensors("outputs", block, y, r)
            elif isinstance(ours_y, Tensor) or ours_y != y:
                raise Difference(f"outputs of replica {r} differ")
    if torch.is_grad_enabled():
        for leaves in (together, *alone):
            _backward(leaves, replicas if leaves is together else 1)
        for r, net in zip(numbers, theirs, strict=True):
            _compare_gradients(ours, net, r, replicas)
    buffers = dict(ours.named_buffers())
    for r, net in zip(numbers, theirs, strict=True):
        for name, value in net.named_buffers():
            _compare_tensors(name, _part(buffers[name], value, r, replicas), value, r)
    return [y.dim() if isinstance(y, Tensor) else 0 for y in alone[0]]


def _side_by_side(ours: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    try:
        return tree_leaves(ours(*args, **kwargs))
    except (
        Exception
    ) as error:  # of any kind: it is a user's code that sees other shapes than it was written for
        lines = str(error).splitlines() or [""]
        raise Difference(
            f"forward fails with replicas side by side ({type(error).__name__}: {lines[0]})"
        ) from error


def _compare_gradients(ours: nn.Module, net: nn.Module, replica: int, replicas: int) -> None:
    values, gradients = dict(ours.named_parameters()), dict[str, Tensor]()
    for name, parameter in net.named_parameters():
        if (parameter.grad is None) != (values[name].grad is None):
            raise Difference(f"only one of both has a gradient of {name}")
        if parameter.grad is not None:
            gradients[name] = parameter.grad
    # Some, such as of a bias before batch normalisation, are 0 but for rounding: the scale is that of all.
    largest = max((grad.abs().max().item() for grad in gradients.values()), default=0.0)
    for name, grad in gradients.items():
        whole = values[name].grad
        assert whole is not None
        _compare_tensors(
            f"gradients of {name}", _part(whole, grad, replica, replicas), grad, replica, largest
        )


def _part(whole: Tensor, like: Tensor, replica: int, replicas: int) -> Tensor:
    """What one replica has of R blocks, or of a number that all share."""
    return whole if whole.dim() == 0 else whole.chunk(replicas)[replica].view(like.shape)


def _block(y: Any, like: Tensor, replica: int, replicas: int) -> Tensor:
    """The block of one replica."""
    if like.dim() == 0 or not isinstance(y, Tensor):
        raise Difference("an output is one number for a whole batch")
    if like.dim() == 1:
        y, like = y.unsqueeze(-1), like.unsqueeze(-1)
    width = like.shape[1]
    if y.shape[:1] + y.shape[2:] != like.shape[:1] + like.shape[2:] or y.shape[1] != replicas * width:
        raise Difference(
            f"an output has shape {tuple(y.shape)} instead of {replicas} blocks {tuple(like.shape)}"
        )
    return y.unflatten(1, (replicas, width))[:, replica].reshape(like.shape)


def _backward(leaves: Sequence[Any], replicas: int) -> None:
    """Gradients of a sum with other weights for each number of a replica's outputs."""
    total: Any = 0
    for y in leaves:
        if isinstance(y, Tensor) and y.requires_grad:
            y = torch.view_as_real(y) if y.is_complex() else y
            y = y if y.dim() else y.unsqueeze(0)
            parts = y.reshape(len(y), replicas, -1)
            weights = torch.arange(parts[:, 0].numel(), dtype=y.dtype).cos().view(len(y), 1, -1)
            total = total + (parts * weights).sum()
    if isinstance(total, Tensor):
        total.backward()


def _compare_tensors(what: str, ours: Tensor, theirs: Tensor, replica: int, largest: float = 0.0) -> None:
    if ours.shape != theirs.shape:
        raise Difference(f"{what} of replica {replica} have another shape")
    if ours.is_complex() and theirs.is_complex():
        ours, theirs = torch.view_as_real(ours), torch.view_as_real(theirs)
    if not theirs.is_floating_point():
        if not torch.equal(ours, theirs):
            raise Difference(f"{what} of replica {replica} differ")
        return
    finite = theirs.abs().nan_to_num(0.0, 0.0)
    scale = max(finite.max().item() if finite.numel() else 0.0, largest, 1e-3)
    tolerance = TOLERANCE.get(theirs.dtype, COARSE)
    if not torch.allclose(ours, theirs, rtol=0, atol=tolerance * scale, equal_nan=True):
        raise Difference(f"{what} of replica {replica} differ")
