"""Settings as frozen dataclasses: a field says its type, default, meaning and range, once.

The flags of a command, the entries of its files and the arguments of a module are all made of these fields.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, get_type_hints

from lightning_modules.command.limits import check_range
from lightning_modules.command.plain import plain, plain_numbers

RULE = "rule"  # key of a field's metadata


@dataclass(frozen=True)
class Rule:
    """What a field says of itself beside its type and default."""

    help: str
    within: tuple[float, float] | None = None  # the least and the most that it may be
    at_least: float = -math.inf
    above: float | None = None
    below: float | None = None
    per_replica: bool = False  # whether each of R replicas may have a value of its own
    # Reason why the setting has no effect -> whether that is so beside the other settings.
    idle: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    idle_value: float | None = None  # its value then; None: the default
    taken_by: str = ""  # who takes it, where that is not the module
    also_here: Callable[[Any], bool] = lambda settings: False  # whether the module takes it too

    def check(self, name: str, value: Any) -> None:
        """Refuse a number that is out of range, or none."""
        if self.within:
            check_range(name, value, *self.within)
        elif self.below is not None:
            if not self.at_least <= value < self.below:
                raise ValueError(f"{name} must lie in [{self.at_least}, {self.below}), got {value}")
        elif self.above is not None and not self.above < value < math.inf:
            raise ValueError(f"{name} must be above {self.above} and finite, got {value}")
        elif self.at_least > -math.inf and not self.at_least <= value < math.inf:
            raise ValueError(f"{name} must be at least {self.at_least} and finite, got {value}")


def setting(default: Any, meaning: str, **rule: Any) -> Any:
    """A field of settings, with its meaning for a command's help, and other fields of `Rule`."""
    return field(default=default, metadata={RULE: Rule(meaning, **rule)})


@dataclass(frozen=True)
class Settings:
    """Base of all settings: values are plain Python's, of their type, and in their range."""

    def __post_init__(self) -> None:
        """Check the values."""
        types = self.types()
        for name, rule in self.rules().items():
            value = (plain_numbers if rule.per_replica else plain)(name, getattr(self, name), types[name])
            for single in value if isinstance(value, list) else [value]:
                if single is not None:
                    rule.check(name, single)
            object.__setattr__(self, name, value)

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """The rules of all fields that may be set; a subclass that changes but a default keeps the rule."""
        found = {
            name: entry.metadata[RULE]
            for base in reversed(cls.__mro__)
            for name, entry in getattr(base, "__dataclass_fields__", {}).items()
            if RULE in entry.metadata
        }
        return {entry.name: found[entry.name] for entry in fields(cls) if entry.init and entry.name in found}

    @classmethod
    def types(cls) -> dict[str, Any]:
        """The types of these fields; of what replicas may have their own of, that of a single value."""
        hints = get_type_hints(cls)
        return {name: float if rule.per_replica else hints[name] for name, rule in cls.rules().items()}


@dataclass(frozen=True)
class Flag:
    """A flag of a command."""

    name: str
    type: Any
    default: Any
    help: str


def flags_of(kind: type[Settings]) -> list[Flag]:
    """A flag for each field, those of the class itself before those of its bases."""
    rules, types = kind.rules(), kind.types()
    defaults = {entry.name: entry.default for entry in fields(kind)}
    names = dict.fromkeys(name for base in kind.__mro__ for name in vars(base).get("__annotations__", ()))
    return [
        Flag(name, types[name] | None if defaults[name] is None else types[name], defaults[name], rule.help)
        for name, rule in ((name, rules[name]) for name in names if name in rules)
    ]


def changes_of(kinds: Collection[type[Settings]]) -> list[Flag]:
    """A flag for each field of any of some classes: None, by default, leaves the value as it is."""
    first = {flag.name: flag for flag in reversed([flag for kind in kinds for flag in flags_of(kind)])}
    names = dict.fromkeys(name for kind in kinds for name in kind.rules())
    return [replace(first[name], type=first[name].type | None, default=None) for name in names]


S = TypeVar("S", bound=Settings)


def split_flags(kind: type[S], flags: Mapping[str, Any]) -> tuple[S, dict[str, Any]]:
    """Split a command's flags into those of a class, and changes that are not None."""
    own = {entry.name for entry in fields(kind)}
    changes = {name: value for name, value in flags.items() if name not in own and value is not None}
    return kind(**{name: value for name, value in flags.items() if name in own}), changes
