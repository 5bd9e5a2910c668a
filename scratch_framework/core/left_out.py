"""What torch's classes take and ours do not: it is refused in one line that says what to use instead.

Only torch's default is taken: with it torch computes what we compute. Arguments that may stand without
their names are torch's, in torch's order; those that only we have (``replicas``) need their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = TypeVar("Kind", bound=type)


class LeftOut(NamedTuple):
    """An argument that is left out."""

    default: Any  # the only value that it may have, torch's default
    use: str  # what to do instead


IN_PLACE = LeftOut(False, "the output: a layer never changes its input")
WHOLE_PATCHES = LeftOut(False, "padding, or an input that patches cover without a rest")
REDUCTION = LeftOut(None, "reduction")
ONE_BY_ONE = LeftOut(None, "fast.compiled.compile_step, which moves all parameters at once")
NO_AUTOGRAD = LeftOut(False, "numeric_gradient: autograd does not see a step")
NO_GRAPH = LeftOut(False, "a loop of Python: steps are not captured as CUDA graphs")
FROM_THE_START = LeftOut(-1, "step(), once for every step that is done")


def leaves_out(**arguments: LeftOut) -> Callable[[Kind], Kind]:
    """Let a class refuse arguments that its counterpart in torch has.

    Args:
        **arguments: What it leaves out, by name.

    Returns:
        A decorator of the class.
    """

    def decorate(kind: Kind) -> Kind:
        init: Any = kind.__init__  # type: ignore[misc]
        own = getattr(init, "__wrapped__", init)  # without the check of types
        unnamed = own.__code__.co_argcount - 1 if hasattr(own, "__code__") else 0

        def checked(self: object, *args: Any, **options: Any) -> None:
            owner = type(self).__name__
            if len(args) > unnamed:
                raise ValueError(f"{owner}: at most {unnamed} arguments may stand without a name, got {args}")
            for name, (default, use) in arguments.items():
                value = options.pop(name, default)
                if type(value) is not type(default) or value != default:
                    raise ValueError(f"{owner}: {name} must be {default!r}, got {value!r}; use {use}")
            init(self, *args, **options)

        checked.__doc__ = init.__doc__
        vars(checked)["__wrapped__"] = init  # `inspect` shows its arguments
        kind.__init__ = checked  # type: ignore[misc]
        return kind

    return decorate
