"""Names for the types of torch that callers hand in.

The framework imports nothing of torch but ``empty``, so it cannot name these types; it only passes them on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Generator: TypeAlias = Any  # torch.Generator, a source of randomness; None is torch's global one
DType: TypeAlias = Any  # torch.dtype; None is torch's default
Device: TypeAlias = Any  # torch.device or its name; None is torch's default

Memory: TypeAlias = Any  # what a module keeps from forward for backward: only the module itself knows
Rate: TypeAlias = "float | Tensor"  # one number for all, or (R,), one for each replica
State: TypeAlias = "dict[str, Tensor]"  # what a state_dict holds
