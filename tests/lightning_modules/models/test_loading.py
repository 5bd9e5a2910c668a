"""Checkpoints that are foreign, damaged or malicious are refused in one line."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.command.cli import CommandError
from lightning_modules.models.loading import load_model


@pytest.mark.parametrize("ensemble", [0, 2, -3, "three", 1.5])
def test_a_checkpoint_whose_nets_are_no_ensembles_is_refused(
    ensemble: Any, checkpoint: Path, tmp_path: Path
) -> None:
    torch.save(torch.load(checkpoint, weights_only=True) | {"ensemble": ensemble}, tmp_path / "odd.ckpt")
    with pytest.raises(CommandError, match="3 nets are no ensembles of"):
        load_model(tmp_path / "odd.ckpt")


class Malicious:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_malicious_checkpoint_is_refused_and_not_executed(tmp_path: Path) -> None:
    victim = tmp_path / "executed"
    torch.save({"model": "AuxiliaryLoss", "state_dict": Malicious(victim)}, tmp_path / "evil.ckpt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malicious(victim)))
    for name in ("evil.ckpt", "evil.pkl"):
        with pytest.raises(CommandError, match="no checkpoint"):
            load_model(tmp_path / name)
    assert not victim.exists()


def test_foreign_and_damaged_checkpoints_are_refused_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    whole = torch.load(checkpoint, weights_only=True)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    torch.save(whole | {"state_dict": {}}, tmp_path / "hollow.ckpt")
    torch.save(whole | {"hyper_parameters": {"nonsense": 1}}, tmp_path / "settings.ckpt")
    (tmp_path / "torn.ckpt").write_bytes(checkpoint.read_bytes()[:10_000])
    (tmp_path / "empty.ckpt").touch()
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(CommandError) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
