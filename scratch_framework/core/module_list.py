"""A list of modules inside a module. Those in a plain list would be neither trained nor saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ModuleList(Module):
    """Modules by number, named 0, 1, 2 and so on.

    It only keeps them: the module that it belongs to calls their `forward`, and their `backward` in reverse.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        """Keep modules.

        Args:
            modules: In their order.
        """
        for module in modules:
            self.append(module)

    @property
    def chain(self) -> tuple[Module, ...]:
        """The modules in their order."""
        return tuple(value for name, value in vars(self).items() if name.isdecimal())

    def append(self, module: Module) -> None:
        """Add a module at the end.

        Args:
            module: What to add.

        Raises:
            ValueError: It is no module.
        """
        place = len(self)
        if not isinstance(module, Module):
            raise ValueError(f"{type(self).__name__} must hold modules, got {module!r} at place {place}")
        setattr(self, str(place), module)

    def __len__(self) -> int:
        return len(self.chain)

    def __getitem__(self, place: int) -> Module:
        return self.chain[place]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.chain)
