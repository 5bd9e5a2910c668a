"""Networks that compare two digits, as LightningModules for many seeds at once.

Names are resolved on first use, so that a command can read its flags before torch is loaded.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.models.auxiliary import AuxiliaryLoss
    from lightning_modules.models.base import PairModule
    from lightning_modules.models.plain_cnn import PlainCNN
    from lightning_modules.models.weight_sharing import WeightSharing

__all__ = ["AuxiliaryLoss", "PairModule", "PlainCNN", "WeightSharing"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lightning_modules.models import registry

    return getattr(registry, name)
