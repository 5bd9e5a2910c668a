"""Nets can be taken elsewhere: as ONNX, as an ordinary state_dict, as one replica."""

from importlib.metadata import version
from pathlib import Path

import onnxruntime
import pytest
import torch

from datamodules import load_digits
from lightning_modules import AuxiliaryLoss
from lightning_modules.command.file_format import FORMAT
from lightning_modules.evaluation.ensembling import average
from lightning_modules.models.loading import load_model
from lightning_modules.models.registry import MODULES
from lightning_modules.predict.__main__ import main
from lightning_modules.replicas.state import export_replica


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("auxiliary", "paper"),
        *(
            pytest.param(model, recipe, marks=pytest.mark.slow)
            for model, recipe in (
                ("cnn", "paper"),
                ("cnn", "modern"),
                ("weight_sharing", "paper"),
                ("weight_sharing", "modern"),
                ("auxiliary", "modern"),
            )
        ),
    ],
)
def test_an_exported_net_answers_as_before_and_says_what_it_takes(
    model: str, recipe: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {} if recipe == "paper" else {"trunk": "modern", "head": "exact", "width": 8}
    if model == "cnn" and settings:
        settings["branches"] = "separate"
    three = MODULES[model](seed=[0, 1, 2], **settings)
    torch.save(
        {
            "format": FORMAT,
            "model": type(three).__name__,
            "hyper_parameters": dict(three.hparams),
            "state_dict": three.state_dict(),
        },
        tmp_path / "three.ckpt",
    )
    main([str(tmp_path / "three.ckpt"), "--replica", "1", "--onnx", str(tmp_path / "net.onnx"),
          "--state_dict", str(tmp_path / "net.pt")])  # fmt: skip
    plain = MODULES[model](seed=0, **settings).eval()
    plain.network.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    pairs = load_digits(None)[1].images[:20].float().view(10, 2, 14, 14)
    expected = three.eval().network(pairs.repeat(1, 3, 1, 1)).pair[:, 1:2]
    torch.testing.assert_close(plain.network(pairs).pair, expected, rtol=1e-5, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (answer, *_) = session.run(None, {"pairs": pairs.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), expected, rtol=1e-5, atol=1e-5)
    said = session.get_modelmeta().custom_metadata_map
    assert "in 0..255" in said["input pairs"]
    assert said["classes of pair"] == "first > second, first <= second"
    assert said["versions"].endswith(f", torch {version('torch')}")
    assert {f"output {output.name}" for output in session.get_outputs()} <= said.keys()
    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("auxiliary", marks=pytest.mark.slow),
        "weight_sharing",
        pytest.param("cnn", marks=pytest.mark.slow),
    ],
)
def test_an_exported_ensemble_answers_as_its_run_was_tested(model: str, tmp_path: Path) -> None:
    """Run 1 of two; digit posteriors are averaged where digits are told."""
    settings = {"trunk": "modern", "width": 4} | ({} if model == "cnn" else {"head": "exact"})
    nets = MODULES[model](seed=[0, 1, 2, 3], **settings)
    content = {"format": FORMAT, "model": type(nets).__name__, "ensemble": 2}
    content["hyper_parameters"] = dict(nets.hparams)
    torch.save(content | {"state_dict": nets.state_dict()}, tmp_path / "nets.ckpt")
    main([str(tmp_path / "nets.ckpt"), "--replica", "1", "--onnx", str(tmp_path / "net.onnx"),
          "--state_dict", str(tmp_path / "net.pt")])  # fmt: skip
    pairs = load_digits(None)[1].images[:20].float().view(10, 2, 14, 14)
    with torch.no_grad():
        outputs = nets.eval()(pairs.repeat(1, 4, 1, 1))
    expected = average(outputs, torch.tensor([[0, 1], [2, 3]]), nets).pair[:, 1:]
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (answer, *_) = session.run(None, {"pairs": pairs.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), expected, rtol=1e-4, atol=1e-5)
    for name, value in torch.load(tmp_path / "net.pt", weights_only=True).items():
        whole = nets.network.state_dict()[name]
        assert torch.equal(value, whole[len(whole) // 2 :] if whole.dim() else whole), name


def test_one_replica_of_a_checkpoint_is_the_one_that_was_trained(checkpoint: Path) -> None:
    three = load_model(checkpoint)
    assert isinstance(three, AuxiliaryLoss)
    one = three.replica(2).network.state_dict()
    for name, value in export_replica(three.network.state_dict(), 2, 3).items():
        assert torch.equal(one[name], value)
