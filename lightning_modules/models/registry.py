"""Which module a model is, by the name that commands call it."""

from collections.abc import Mapping

from lightning_modules.models.auxiliary import AuxiliaryLoss
from lightning_modules.models.base import PairModule
from lightning_modules.models.plain_cnn import PlainCNN
from lightning_modules.models.weight_sharing import WeightSharing

MODULES: Mapping[str, type[PairModule]] = {
    module.settings_type.model: module for module in (PlainCNN, WeightSharing, AuxiliaryLoss)
}
