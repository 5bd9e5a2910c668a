"""The folder of a study, as the demo takes it."""

import shutil
from pathlib import Path

import pytest
import torch

from lightning_modules.recipes import MODULES


@pytest.fixture(scope="session")
def study(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two models: `auxiliary` reads digits, `cnn` has learnt nothing."""
    folder = tmp_path_factory.mktemp("demo") / "study"
    for model in ("auxiliary", "cnn"):
        (folder / model).mkdir(parents=True)
    shutil.copy(checkpoint, folder / "auxiliary")
    net = MODULES["cnn"](seed=[0])
    parts = {
        "model": type(net).__name__,
        "hyper_parameters": dict(net.hparams),
        "state_dict": net.state_dict(),
    }
    torch.save(parts, folder / "cnn" / "checkpoint.ckpt")
    return folder
