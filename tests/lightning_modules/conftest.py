"""Small nets that read digits, trained once for all tests that ask some."""

from pathlib import Path

import pytest

from datamodules import DigitPairs
from lightning_modules.execution import Choice
from lightning_modules.protocol import run_study
from lightning_modules.recipes import MODERN, resolve
from lightning_modules.studies import make_study


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small nets that read most digits."""
    path = tmp_path_factory.mktemp("run") / "checkpoint.ckpt"
    (settings,) = resolve(MODERN, ["auxiliary"], {"width": 8, "two_views_from": 1.0}).values()
    study = make_study(
        "auxiliary",
        settings,
        [0, 1, 2],
        lambda **more: DigitPairs(train_pairs=1000, val_pairs=0, test_pairs=50, **{"batch_size": 25, **more}),
        {"max_epochs": 4, "accelerator": "cpu"},
        Choice(workers=1),
        checkpoint=path,
    )
    run_study(study, lambda first, figures: None)
    return path
