"""The tree of a net: a module holds parameters, buffers and other modules, and finds them by their names.

Sequential                    state_dict():   0.weight, 0.bias, 2.weight, 2.bias
  0: Linear                                   the path of attribute names, as in torch
       weight, bias
  1: Tanh
  2: Linear
       weight, bias
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeGuard

from scratch_framework.core.annotations import Checked
from scratch_framework.core.checks import check_state
from scratch_framework.core.hidden import refuse_hidden
from scratch_framework.core.parameter import Buffer, Parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from scratch_framework.core.module import Module
    from scratch_framework.core.parameter import State


class Tree(Checked):
    """The part of `Module` that holds others.

    Parameters and modules that are attributes are found in the order in which they were set. Those in a plain
    list are not found but refused, hence `ModuleList`.
    """

    training = True  # Dropout and BatchNorm act otherwise in evaluation

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Modules directly inside this one, by name."""
        refuse_hidden(self, (Tree, Parameter, Buffer))
        return ((name, value) for name, value in vars(self).items() if is_module(value))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        for module in self.inner_modules():
            refuse_hidden(module, (Tree, Parameter, Buffer))
            yield module

    def inner_modules(self) -> Iterator[Module]:
        """The same without a look at what lists hide, which takes several times as long."""
        if is_module(self):
            yield self
        for value in vars(self).values():
            if isinstance(value, Tree):
                yield from value.inner_modules()

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Parameter | Buffer]]:
        """Parameters and buffers by torch's names and in torch's order; ``prefix`` is this module's name."""
        start = f"{prefix}." if prefix else ""
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Buffer)):
                yield start + name, value
        for name, child in self.named_children():
            yield from child.named_tensors(start + name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters by torch's names, those of inner modules included; one with two names by its first."""
        seen: set[int] = set()
        for name, value in self.named_tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, those of inner modules included, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def param(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs of value and gradient, one for each parameter: the interface of the paper's course."""
        return [(parameter.value, parameter.grad) for parameter in self.parameters()]

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to 0."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Self:
        """Switch all modules to training, or with False to evaluation, and return this one."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: Dropout drops nothing, BatchNorm uses its running statistics."""
        return self.train(False)

    def state_dict(self) -> State:
        """Values of all parameters and buffers by name: their own tensors, not copies, as in torch."""
        return {name: one.value for name, one in self.named_tensors()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Copy values into parameters and buffers; nothing is copied unless all of them fit.

        Args:
            state_dict: Values by name, from a module of the same structure, ours or torch.nn's.
        """
        own = self.state_dict()
        check_state(own, state_dict)
        for name, value in own.items():
            value.copy_(state_dict[name].detach())

    def extra_repr(self) -> str:
        """The arguments to print between the brackets."""
        return ""

    def __repr__(self) -> str:
        inner = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        body = "".join(f"\n  {line}" for line in inner) + "\n" if inner else self.extra_repr()
        return f"{type(self).__name__}({body})"


def is_module(value: object) -> TypeGuard[Module]:
    """Whether an attribute is a module: no other class is a Tree."""
    return isinstance(value, Tree)
