"""The ordinary nets that replicas are made of, one a seed, and their tensors joined."""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils._pytree import tree_leaves

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.seeding import derive_seed


def make_nets(make_net: Callable[[], nn.Module], seeds: Sequence[int]) -> list[nn.Module]:
    """Make one net a seed.

    Args:
        make_net: Makes a net; torch is seeded before each call.
        seeds: R seeds.

    Raises:
        ValueError: What it makes is no net, not a new one at each call, or of other shapes for another seed.
    """
    _refuse_what_needs_arguments(make_net)
    nets = [_make(make_net, seed) for seed in seeds]
    if len({id(net) for net in nets}) < len(nets):
        raise ValueError("make_net must make a new net at each call")
    shapes = [{name: value.shape for name, value in tensors_of(net).items()} for net in nets]
    if any(own != shapes[0] for own in shapes):
        raise ValueError("make_net must make nets of the same shapes for all seeds")
    _refuse_without_copy(nets[0])
    for net in nets[1:]:
        _refuse_own_attributes(nets[0], net)
    return nets


def _refuse_what_needs_arguments(make_net: Any) -> None:
    """Refuse a net that is made already, a class that is to be given its sizes, and what is no function."""
    what = type(make_net).__name__ if isinstance(make_net, nn.Module) else f"{make_net!r:.80}"
    try:
        if isinstance(make_net, nn.Module) or not callable(make_net):
            raise TypeError
        inspect.signature(make_net).bind()
    except TypeError:
        raise ValueError(
            "make_net must be a function without arguments that makes the net anew, such as"
            f" lambda: Net(3, 2), got {what}"
        ) from None
    except ValueError:  # what is written in C may not say what arguments it takes
        pass


def _make(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(derive_seed(seed, "initialisation"))
    net = make_net()
    if not isinstance(net, nn.Module):
        raise ValueError(f"make_net must return a torch.nn.Module, got {type(net).__name__}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in net.modules()):
        raise ValueError("make_net must return ordinary modules, not scripted ones; leave out torch.jit")
    if any(value._backward_hooks or value._post_accumulate_grad_hooks for value in net.parameters()):
        raise ValueError("make_net must not register hooks of parameters: those of the replicas are others")
    lazy = (UninitializedParameter, UninitializedBuffer)
    if any(isinstance(value, lazy) for value in tensors_of(net).values()):
        raise ValueError("make_net must give its lazy layers their shapes, by a first call with an example")
    return net


def _refuse_without_copy(net: nn.Module) -> None:
    try:
        copy.deepcopy(net)
    except Exception as error:  # of any kind: it is a user's module
        raise ValueError(
            "make_net must return a module that copy.deepcopy can copy; take weight_norm of"
            f" torch.nn.utils.parametrizations, if that is in it: {(str(error).splitlines() or [''])[0]}"
        ) from error


def _refuse_own_attributes(first: nn.Module, other: nn.Module) -> None:
    """Refuse what differs between seeds and is not registered: all replicas would have the first seed's."""
    for ours, their in zip(first.modules(), other.modules(), strict=False):
        if type(ours).__qualname__ != type(their).__qualname__:
            raise ValueError(
                "make_net must make the same layers for all seeds,"
                f" got {type(ours).__name__} and {type(their).__name__}"
            )
    theirs = dict(_attributes(other))
    for name, values in _attributes(first):
        others = theirs.get(name, [])
        if len(values) != len(others) or not all(map(_is_same, values, others)):
            raise ValueError(
                f"make_net must give {name} one value for all seeds, or register it: as a buffer, a parameter"
                " or in a ModuleList"
            )


def _attributes(net: nn.Module) -> Iterator[tuple[str, list[Any]]]:
    """What plain attributes of a net and its parts hold, beside tensors that are registered."""
    registered = {id(value) for value in tensors_of(net).values()}
    for name, module in net.named_modules():
        own = {} if isinstance(module, Dropout) else vars(module)  # its streams are those of each seed
        for key in [key for key in own if not key.startswith("_")]:
            leaves = [[*x.parameters()] if isinstance(x, nn.Module) else [x] for x in tree_leaves(own[key])]
            yield f"{name}.{key}".strip("."), [x for part in leaves for x in part if id(x) not in registered]


def _is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, theirs)
    return not isinstance(ours, Number | str) or repr(ours) == repr(theirs)


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once."""
    return dict[str, Tensor](net.named_parameters()) | dict(net.named_buffers())


def joined(nets: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The tensors of R nets, with R blocks along their first dimension; a counter is that of all.

    Raises:
        ValueError: A counter differs between nets.
    """
    every, whole = [tensors_of(net) for net in nets], dict[str, Tensor]()
    for name, first in every[0].items():
        if first.dim() == 0 and not first.is_floating_point():
            if not all(torch.equal(tensors[name], first) for tensors in every):
                raise ValueError(
                    f"make_net must give the whole number {name} one value for all seeds, or make it (1,)"
                )
            whole[name] = first.detach().clone()
            continue
        values = torch.stack([tensors[name].detach() for tensors in every])
        values = values.flatten(0, 1) if first.dim() else values
        is_parameter = isinstance(first, nn.Parameter)
        whole[name] = nn.Parameter(values, first.requires_grad) if is_parameter else values
    return whole
