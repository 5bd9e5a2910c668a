"""Networks that compare two digits, as LightningModules for many seeds at once; `replicate` for other nets.

Names are resolved on first use, so that a command can read its flags before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.models.auxiliary import AuxiliaryLoss
    from lightning_modules.models.base import PairModule
    from lightning_modules.models.plain_cnn import PlainCNN
    from lightning_modules.models.weight_sharing import WeightSharing
    from lightning_modules.replicas.convert import Replicas, replicate
    from lightning_modules.replicas.early_stopping import StopReplicas
    from lightning_modules.replicas.loader import ReplicaLoader
    from lightning_modules.replicas.module import ReplicatedModule
    from lightning_modules.replicas.registry import register

_HOMES = {  # of public names
    "AuxiliaryLoss": "models.auxiliary",
    "PairModule": "models.base",
    "PlainCNN": "models.plain_cnn",
    "ReplicaLoader": "replicas.loader",
    "Replicas": "replicas.convert",
    "ReplicatedModule": "replicas.module",
    "StopReplicas": "replicas.early_stopping",
    "WeightSharing": "models.weight_sharing",
    "register": "replicas.registry",
    "replicate": "replicas.convert",
}
__all__ = [
    "AuxiliaryLoss",
    "PairModule",
    "PlainCNN",
    "ReplicaLoader",
    "Replicas",
    "ReplicatedModule",
    "StopReplicas",
    "WeightSharing",
    "register",
    "replicate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
