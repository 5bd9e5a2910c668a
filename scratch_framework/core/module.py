"""A module: a piece of a net that computes its output going forward and passes gradients going backward.

A net is a chain of functions y = f(x; w) that ends in one number, the loss L. Training needs the derivative
of L by every parameter w. The chain rule finds them all in one walk from the end to the start:

    each module is given  dL/dy, the gradient of the loss by its output,
    it adds               dL/dw = dL/dy dy/dw  to the gradient of its parameters,
    and it returns        dL/dx = dL/dy dy/dx, which is the dL/dy of the module before it.

Autograd records the forward pass and derives this walk by itself. Here each module spells it out: `forward`
remembers what the derivatives need, `backward` uses it. So `backward` follows the latest `forward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from scratch_framework.core.buffer import Buffer
from scratch_framework.core.parameter import Parameter
from scratch_framework.core.saved import Saved, mark, marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from scratch_framework.core.aliases import Memory, State


CONTAINERS = (list, tuple, set, frozenset)


class Module:
    """Base of all layers and nets.

    A subclass writes `forward` and `backward`. Parameters and modules that it keeps as attributes are found
    by themselves, in the order in which they were set; those in a list are not, hence `ModuleList`.
    """

    training = True  # Dropout and BatchNorm act otherwise in evaluation
    _saved: Saved | None = None  # of the latest forward pass
    _passes = 0  # forward passes so far

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output and `remember` what `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def backward(self, grad_output: Tensor) -> Tensor:
        """Add dL/dw to each parameter's gradient, given dL/dy.

        Args:
            grad_output: dL/dy, of the shape of the latest output.

        Returns:
            dL/dx, of the shape of the latest input.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no backward")

    def __call__(self, x: Tensor) -> Tensor:
        """Call `forward`."""
        return self.forward(x)

    def save_for_backward(self, memory: Memory, output: Tensor) -> Tensor:
        """Keep from `forward` what `backward` needs.

        Args:
            memory: What the derivative is computed from, in any form.
            output: The module's output; `recall` checks the gradient's shape and dtype against it.

        Returns:
            The output, so that ``forward`` can end with this call.
        """
        if output.requires_grad:
            raise ValueError(
                f"{type(self).__name__}: the input must not require grad (gradients are computed here, not by"
                " autograd): pass its detach()"
            )
        self._passes += 1
        own = [value for value in vars(self).values() if isinstance(value, Parameter)]
        lost = self._saved is not None and not self._saved.settled
        self._saved = Saved(memory, own, output, self._passes, lost)
        return mark(output, marks(output) | {id(self): self._passes})

    def saved(self, grad_output: Tensor) -> Memory:
        """Give `backward` what `forward` kept, once the gradient is seen to fit.

        Args:
            grad_output: The gradient that ``backward`` was given.

        Returns:
            What `remember` kept.

        Raises:
            RuntimeError: There was no forward pass; or the gradient is of one before the latest; or what was
                kept, or a parameter, has been changed since.
            ValueError: The gradient has not the output's shape and dtype.
        """
        name, saved = type(self).__name__, self._saved
        if saved is None:
            raise RuntimeError(f"{name}: backward before forward; there is no output to differentiate")
        if saved.settled and saved.lost_another:
            raise RuntimeError(
                f"{name}: a second backward, but of the forward passes before it only the latest is kept: use"
                " a module of its own in each place, or memories() and restore()"
            )
        for what, wanted, got in (
            ("shape", saved.shape, tuple(grad_output.shape)),
            ("dtype", saved.dtype, grad_output.dtype),
        ):
            if got != wanted:
                raise ValueError(f"{name}: grad_output must have the output's {what} {wanted}, got {got}")
        if marks(grad_output).get(id(self), saved.number) != saved.number:
            raise RuntimeError(
                f"{name}: grad_output belongs to an earlier output: forward ran again before backward, and"
                " only the latest pass is kept; call backward first"
            )
        if not saved.is_unchanged():
            raise RuntimeError(
                f"{name}: a tensor that backward needs (input, output or parameter) was changed in place"
                " after forward; change a copy, or call backward first"
            )
        saved.settled = True
        return saved.memory

    def saved_passes(self) -> list[Saved | None]:
        """What this module and all inside it remember of the latest forward pass.

        Whoever applies one module several times takes these after each, and gives them back (`restore`)
        before the backward pass that belongs to it.
        """
        memories = [module._saved for module in self.modules()]
        for saved in memories:
            if saved is not None:
                saved.settled = True  # whoever takes it keeps it
        return memories

    def restore(self, memories: list[Saved | None]) -> None:
        """Go back to an earlier forward pass: the next `backward` is of that one.

        Args:
            memories: What `memories` gave after it.
        """
        for module, saved in zip(self.modules(), memories, strict=True):
            module._saved = saved

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Modules directly inside this one, by name."""
        refuse_hidden(self)
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def refuse_repeats(self) -> None:
        """Refuse a module that stands in two places inside this one: it would remember only the latter."""
        inner = list(self.modules())
        if len({id(module) for module in inner}) < len(inner):
            twice = next(module for module in inner if sum(other is module for other in inner) > 1)
            raise ValueError(f"{type(self).__name__} must hold every module once, got this {twice!r} twice")

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Parameter | Buffer]]:
        """Parameters and buffers by torch's names and in torch's order, such as ``0.weight``.

        Args:
            prefix: Name of this module inside a larger one.

        Yields:
            Name, and parameter or buffer.
        """
        start = f"{prefix}." if prefix else ""
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Buffer)):
                yield start + name, value
        for name, child in self.named_children():
            yield from child.named_tensors(start + name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters by torch's names, those of inner modules included; one with two names by its first."""
        seen: set[int] = set()
        for name, one in self.named_tensors():
            if isinstance(one, Parameter) and id(one) not in seen:
                seen.add(id(one))
                yield name, one

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, those of inner modules included, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def param(self) -> list[tuple[Tensor, Tensor]]:
        """The course's view of the parameters: pairs of value and gradient."""
        return [(parameter.value, parameter.grad) for parameter in self.parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Self:
        """Switch to training, or with False to evaluation.

        Args:
            mode: Whether to train.

        Returns:
            The module itself.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: Dropout lets everything through, BatchNorm uses its running statistics."""
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
        if missing := [name for name in own if name not in state_dict]:
            raise ValueError(
                f"state_dict must hold every parameter and buffer, missing: {', '.join(missing)}"
            )
        if unexpected := [name for name in state_dict if name not in own]:
            raise ValueError(f"state_dict must hold no other names, got: {', '.join(unexpected)}")
        for name, value in own.items():
            if state_dict[name].shape != value.shape:
                raise ValueError(
                    f"state_dict: {name} must have shape {tuple(value.shape)},"
                    f" got {tuple(state_dict[name].shape)}"
                )
        for name, value in own.items():
            value.copy_(state_dict[name].detach())

    def extra_repr(self) -> str:
        """The arguments to print between the brackets."""
        return ""

    def __repr__(self) -> str:
        inner = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        body = "".join(f"\n  {line}" for line in inner) + "\n" if inner else self.extra_repr()
        return f"{type(self).__name__}({body})"


def contents(value: object) -> Iterator[Module | Parameter | Buffer]:
    """The modules, parameters and buffers in nested lists, tuples, sets and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    for item in value if isinstance(value, CONTAINERS) else ():
        if isinstance(item, (Module, Parameter, Buffer)):
            yield item
        yield from contents(item)


def refuse_hidden(module: Module) -> None:
    """Refuse what a module keeps in a list and nowhere else: it would be neither trained nor saved.

    Args:
        module: The module, whose attributes are looked at.

    Raises:
        ValueError: A list, tuple, set or dict holds something that no attribute leads to.
    """
    attributes = vars(module)
    hidden = [(name, item) for name, value in attributes.items() for item in contents(value)]
    if not hidden:
        return
    children = [value for value in attributes.values() if isinstance(value, Module)]
    found = {id(value) for value in attributes.values()}
    for child in children:
        found.update(map(id, child.modules()), (id(one) for _, one in child.named_tensors()))
    for name, item in hidden:
        if id(item) not in found:
            raise ValueError(
                f"{type(module).__name__}: {name} hides a {type(item).__name__} in a"
                f" {type(attributes[name]).__name__}, where it is neither trained nor saved: keep modules in"
                " a ModuleList, parameters as attributes"
            )
