"""The second model: one CNN for both digits."""

from lightning_modules.models.latent_digits import LatentDigitModule
from lightning_modules.models.settings import WeightSharingSettings


class WeightSharing(LatentDigitModule):
    """One CNN for both digits (paper, section 1.2.2)."""

    settings_type = WeightSharingSettings
