"""Checkpoints are read and joined on the CPU, wherever they were written."""

import ast
import re
from pathlib import Path

import pytest
import torch

from lightning_modules import PlainCNN
from lightning_modules.command.file_format import FORMAT
from lightning_modules.models.loading import load_model
from lightning_modules.replicas.checkpoints import join_checkpoints, read_checkpoint

ROOT = Path(__file__).parents[3]


@pytest.fixture
def of_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a net whose storages say that they lay on a GPU."""
    module = PlainCNN(seed=[0, 1])
    content = {
        "format": FORMAT,
        "model": "PlainCNN",
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "owner": {"study": "1"},
    }
    with monkeypatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
        torch.save(content, tmp_path / "gpu.part")
    assert b"cuda:0" in (tmp_path / "gpu.part").read_bytes()
    return tmp_path / "gpu.part"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there a GPU's checkpoint can be read to it")
def test_such_a_file_cannot_be_read_where_no_place_is_said(of_gpu: Path) -> None:
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(of_gpu, weights_only=True)


def test_a_gpus_checkpoint_is_read_to_the_cpu(of_gpu: Path) -> None:
    state = read_checkpoint(of_gpu)["state_dict"]
    assert {value.device.type for value in state.values()} == {"cpu"}
    assert {value.device.type for value in load_model(of_gpu).state_dict().values()} == {"cpu"}


def test_the_parts_of_a_gpus_study_are_joined_on_the_cpu(of_gpu: Path) -> None:
    joined = of_gpu.with_name("checkpoint.ckpt")
    join_checkpoints([of_gpu, of_gpu], joined, without=["owner"])
    content = torch.load(joined, weights_only=True)
    assert content.keys() == {"format", "model", "state_dict", "hyper_parameters"}
    assert content["hyper_parameters"]["seed"] == [0, 1, 0, 1]


def test_whoever_reads_a_checkpoint_says_where_to() -> None:
    folders = ("benchmarks", "datamodules", "lightning_modules", "scratch_framework", "tune")
    for path in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        if re.search(r"torch\.load\(|load_from_checkpoint\(", text := path.read_text()):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                    ("torch.load", "load_from_checkpoint")
                ):
                    arguments = {keyword.arg for keyword in node.keywords}  # None: **kwargs, handed on
                    assert arguments & {"map_location", None}, path
