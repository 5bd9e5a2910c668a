"""The annotation of a constructor's argument is its rule: ``in_features: int`` refuses Linear(3.0, 2).

`Checked` reads the annotations of each class below it, so that no layer has to repeat them as checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import empty

from scratch_framework.core.argument_types import NUMBER, TENSOR, first_line

if TYPE_CHECKING:
    from collections.abc import Callable


def is_number(value: Any, method: str = "__float__") -> bool:
    """Whether a value is one real number, Python's or NumPy's; with ``__index__`` a whole one."""
    other = isinstance(value, TENSOR) or hasattr(value, "__len__") or "bool" in type(value).__name__
    return hasattr(value, method) and not other


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return is_number(value, "__index__")


def is_size(value: Any) -> bool:
    """Whether a value is a whole number, or None for a size that is left open."""
    return value is None or is_whole(value)


def are(fits: Callable[[Any], bool], value: Any) -> bool:
    """Whether a value is a tuple or list, not empty, of what fits."""
    return isinstance(value, (tuple, list)) and bool(value) and all(map(fits, value))


def is_iterable(value: Any) -> bool:
    """Whether a loop can run over a value; not over a tensor without dimensions."""
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def is_generator(value: Any) -> bool:
    """Whether a value is a source of random numbers."""
    return type(value).__name__ == "Generator" and hasattr(value, "manual_seed")


def is_device(value: Any) -> bool:
    """Whether tensors can live there."""
    try:
        empty(0, device=value)
    except (TypeError, ValueError, RuntimeError, AssertionError):
        return False
    return not isinstance(value, bool)


# What an annotation asks for: the test, and its name in a message.
KINDS: dict[object, tuple[Callable[[Any], bool], str]] = {
    "None": (lambda value: value is None, "None"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "str": (lambda value: isinstance(value, str), "a string"),
    "int": (is_whole, "a whole number"),
    "float": (is_number, "a number"),
    "tuple[float, float]": (lambda value: are(is_number, value) and len(value) == 2, "two numbers"),
    "Sequence[int]": (lambda value: are(is_whole, value), "a list of them"),
    "Pair": (lambda value: is_whole(value) or are(is_whole, value), "a whole number or a pair of them"),
    "int | tuple[int | None, int | None]": (
        lambda value: is_size(value) or (are(is_size, value) and len(value) == 2),
        "a whole number, None or a pair of them",
    ),
    "Tensor": (lambda value: isinstance(value, TENSOR), "a tensor"),
    "Rate": (lambda value: isinstance(value, (int, float, TENSOR)), "a number or a tensor"),
    "Optimizer": (lambda value: hasattr(value, "set_momentum"), "an optimiser, such as SGD"),
    "Generator": (is_generator, "a torch.Generator"),
    "Sequence[Generator]": (lambda value: are(is_generator, value), "a list of them"),
    "dtype": (
        lambda value: isinstance(value, type(NUMBER.dtype)) and value.is_floating_point,
        "a dtype of floating-point numbers",
    ),
    "device | str | None": (is_device, "a device that torch finds here, such as 'cpu'"),
    "Module": (lambda value: hasattr(value, "saved_passes"), "a module"),
    "Iterable[Module]": (is_iterable, "a list of modules"),
}


class Checked:
    """Base of layers, losses, optimisers and schedules: their constructors refuse what has the wrong type."""

    def __init_subclass__(cls) -> None:
        """Wrap the methods that are given sizes and rates, so that they check them first."""
        super().__init_subclass__()
        for name in ("__init__", "set_momentum", "train"):
            method = vars(cls).get(name)
            if hasattr(method, "__code__"):
                setattr(cls, name, checked(method))


def checked(method: Any) -> Any:
    """A method that first holds its arguments against their annotations.

    Annotations that `KINDS` does not know, such as those of a student's own classes, ask for nothing.
    """
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    rules = {name: alternatives(kind) for name, kind in method.__annotations__.items()}

    def check_first(self: object, *args: Any, **options: Any) -> Any:
        for name, value in (*zip(names, args, strict=False), *options.items()):
            kinds = rules.get(name)
            if kinds and not any(fits(value) for fits, _ in kinds):
                wanted, owner = " or ".join(what for _, what in kinds), type(self).__name__
                raise ValueError(f"{owner}: {name} must be {wanted}, got {first_line(value)}")
            if kinds and isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"{type(self).__name__}: {name} must have at most 63 bits, got {value}")
        return method(self, *args, **options)

    check_first.__doc__ = method.__doc__
    vars(check_first)["__wrapped__"] = method  # `inspect` shows its arguments
    return check_first


def alternatives(annotation: Any) -> list[tuple[Callable[[Any], bool], str]]:
    """The kinds of value that an annotation allows; none if one of them is unknown."""
    parts = [annotation] if annotation in KINDS else str(annotation).split(" | ")
    return [KINDS[part] for part in parts] if all(part in KINDS for part in parts) else []
