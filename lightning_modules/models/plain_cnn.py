"""The first model: a network whose two digits share nothing."""

from lightning_modules.models.latent_digits import LatentDigitModule
from lightning_modules.models.settings import PlainCNNSettings


class PlainCNN(LatentDigitModule):
    """A network whose two digits share nothing (paper, section 1.2.1)."""

    settings_type = PlainCNNSettings
