"""Refuse what a module keeps in a plain list: it would silently be neither trained nor saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTAINERS = (list, tuple, set, frozenset)


def contents(value: object, kinds: tuple[type, ...]) -> Iterator[object]:
    """Objects of some kinds in nested lists, tuples, sets and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    for item in value if isinstance(value, CONTAINERS) else ():
        if isinstance(item, kinds):
            yield item
        yield from contents(item, kinds)


def reachable(owner: object, kinds: tuple[type, ...]) -> Iterator[object]:
    """Objects of some kinds to which attributes lead, attributes of attributes included."""
    for value in vars(owner).values():
        if isinstance(value, kinds):
            yield value
            yield from reachable(value, kinds)


def refuse_hidden(module: object, kinds: tuple[type, ...]) -> None:
    """Refuse what a module keeps in a list and nowhere else.

    Args:
        module: The module, whose attributes are looked at.
        kinds: Modules, parameters and buffers.

    Raises:
        ValueError: A list, tuple, set or dict holds something that no attribute leads to.
    """
    hidden = [(name, item) for name, value in vars(module).items() for item in contents(value, kinds)]
    if not hidden:
        return
    found = {id(item) for item in reachable(module, kinds)}
    for name, item in hidden:
        if id(item) not in found:
            kind, container = type(item).__name__, type(vars(module)[name]).__name__
            raise ValueError(
                f"{type(module).__name__}: {name} hides a {kind} in a {container}, where it is neither"
                " trained nor saved: keep modules in a ModuleList, parameters as attributes"
            )
