"""Pictures are brought to MNIST's form, nets answer about them, and nets can be taken elsewhere."""

import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.transform import resize

from datamodules import load_digits
from lightning_modules import AuxiliaryLoss
from lightning_modules.cli import CommandError
from lightning_modules.demo.nets import load_nets
from lightning_modules.handwriting import as_mnist, read_digit
from lightning_modules.loading import load_model
from lightning_modules.predict import main
from lightning_modules.recipes import MODULES
from lightning_modules.replicas import export_replica
from lightning_modules.teams import average

Pixels = NDArray[np.float64]


def drawn(digit: Pixels, size: int) -> Pixels:
    return resize(digit / 255, (size, size), order=1)


def photographed(digit: Pixels) -> Pixels:
    """Dark ink on paper in a shadow, off centre, with noise."""
    ink = np.pad(drawn(digit, 112), ((30, 10), (5, 40)))
    height, width = ink.shape
    light = 0.9 - 0.3 * np.linspace(0, 1, width) - 0.1 * np.linspace(0, 1, height)[:, None]
    return (light * (1 - 0.7 * ink) + np.random.default_rng(0).normal(0, 0.01, ink.shape)).clip(0, 1)


SIGHTS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda digit: digit / 255,
    "large": lambda digit: drawn(digit, 300),
    "dark on light": lambda digit: 1 - drawn(digit, 60),
    "on a wide page": lambda digit: np.pad(1 - drawn(digit, 60), ((20, 20), (90, 30)), constant_values=1),
    "photo": photographed,
}


def save(path: Path, grey: Pixels) -> Path:
    Image.fromarray((255 * grey).round().astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_digit_is_read_as_itself_however_it_is_shown(sight: str, checkpoint: Path) -> None:
    model = load_model(checkpoint).replica(0).eval()
    _, test = load_digits(None)
    digits = test.images[:100].double().numpy().reshape(-1, 14, 14)
    seen = torch.from_numpy(np.stack([as_mnist(SIGHTS[sight](digit)) for digit in digits]))
    assert seen.min() == 0
    assert seen.max() <= 255
    read = model.network(seen.unsqueeze(1).expand(-1, 2, -1, -1)).digits[:, 0, 0].argmax(-1)
    plain = model.network(test.images[:100].view(-1, 1, 14, 14).float().expand(-1, 2, -1, -1)).digits[:, 0, 0]
    assert (read != test.labels[:100]).float().mean() <= (
        plain.argmax(-1) != test.labels[:100]
    ).float().mean() + 0.04


def test_the_centre_of_mass_is_in_the_middle() -> None:
    page = np.zeros((90, 120))
    page[10:60, 20:30] = page[50:60, 20:60] = 1  # an L
    seen = as_mnist(page)
    y, x = np.indices(seen.shape)
    assert abs((seen * y).sum() / seen.sum() - 6.5) <= 0.3
    assert abs((seen * x).sum() / seen.sum() - 6.5) <= 0.3


@pytest.mark.parametrize(
    ("mode", "ink", "paper"),
    [
        ("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("P", 0, 1),
        ("I;16", 60000, 500),
        ("RGB", (20, 20, 90), (250, 240, 200)),
    ],
)
def test_all_kinds_of_images_are_read(mode: str, ink: Any, paper: Any, tmp_path: Path) -> None:
    image = Image.new(mode, (60, 80), paper)
    if mode == "P":
        image.putpalette([10, 10, 10, 255, 255, 255])
    image.paste(ink, (27, 15, 33, 65))
    image.save(tmp_path / "one.png")
    seen = read_digit(tmp_path / "one.png")
    assert seen[3:11, 5:9].max(1).min() > 100
    assert seen[:, :4].max() == seen[:, 10:].max() == 0


def test_names_with_brackets_are_printed_as_they_are(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, test = load_digits(None)
    Path("c[").mkdir()
    for name, digit in zip(("a[red]b.png", "c[/d].png"), test.images.double().numpy(), strict=False):
        save(tmp_path / name, digit.reshape(14, 14) / 255)
    flags = ["--replica", "0", "--state_dict", "net[v1].pt", "--out", "d[/v2]"]
    main([str(checkpoint), "a[red]b.png", "c[/d].png", *flags])
    said = capsys.readouterr().out
    assert all(name in said for name in ("a[red]b.png", "c[/d].png", "net[v1].pt written\n"))
    assert "\nd[/v2]: answers.csv, seen.png (what the nets saw)\n" in said


def bad_files(folder: Path) -> dict[str, str]:
    """File to a part of what is said about it."""
    (folder / "text.png").write_text("no picture")
    save(folder / "cut.png", np.random.default_rng(0).random((50, 50)))
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:300])
    save(folder / "blank.png", np.full((50, 50), 0.7))
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(folder / "nan.tiff")
    return {
        "text.png": "no image",
        "cut.png": "cannot be read",
        "blank.png": "shows no digit",
        "nan.tiff": "no numbers",
        "missing.png": "No such file",
    }


def test_pictures_that_show_nothing_are_named(tmp_path: Path) -> None:
    for name, message in bad_files(tmp_path).items():
        with pytest.raises(CommandError, match=message) as caught:
            read_digit(tmp_path / name)
        assert name in str(caught.value)


def test_pairs_are_answered_from_files_folders_and_a_csv(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, test = load_digits(None)
    for side, digit in (("left", 0), ("right", 7)):
        (tmp_path / side).mkdir()
        chosen = test.images[test.labels == digit][:2].double().numpy().reshape(-1, 14, 14)
        for number, image in enumerate(chosen):
            save(tmp_path / side / f"{number}.png", 1 - drawn(image, 80))
    (tmp_path / "pairs.csv").write_text("left,right\nright/0.png,left/1.png\n")
    cases = [
        ([str(tmp_path / "left" / "0.png"), str(tmp_path / "right" / "1.png")], ["right, or equal"]),
        ([str(tmp_path / "left"), str(tmp_path / "right")], ["right, or equal"] * 2),
        ([str(tmp_path / "pairs.csv")], ["left"]),
    ]
    for images, larger in cases:
        main([str(checkpoint), *images, "--out", str(tmp_path / "out")])
        rows = list(csv.DictReader((tmp_path / "out" / "answers.csv").open()))
        assert [row["larger"] for row in rows] == larger
        assert {(row["left_digit"], row["right_digit"]) for row in rows} <= {("0", "7"), ("7", "0")}
        assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)
        assert (tmp_path / "out" / "seen.png").stat().st_size > 2_000
    assert "answers.csv" in capsys.readouterr().out


@pytest.mark.parametrize("model", MODULES)
@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_an_exported_net_answers_as_before(model: str, recipe: str, tmp_path: Path) -> None:
    settings = {} if recipe == "paper" else {"trunk": "modern", "head": "exact", "width": 8}
    if model == "cnn" and settings:
        settings["branches"] = "separate"
    three = MODULES[model](seed=[0, 1, 2], **settings)
    torch.save(
        {
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


@pytest.mark.parametrize("model", ["auxiliary", "weight_sharing", "cnn"])
def test_an_exported_ensemble_answers_as_its_run_was_tested(model: str, tmp_path: Path) -> None:
    """Run 1 of two; digit posteriors are averaged where digits are told."""
    settings = {"trunk": "modern", "width": 4} | ({} if model == "cnn" else {"head": "exact"})
    nets = MODULES[model](seed=[0, 1, 2, 3], **settings)
    content = {"model": type(nets).__name__, "hyper_parameters": dict(nets.hparams), "ensemble": 2}
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


def test_nets_that_diverged_are_left_out_and_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    for value in content["state_dict"].values():
        if value.dim():
            value.unflatten(0, (3, -1))[1] = float("nan")
    torch.save(content, tmp_path / "one_lost.ckpt")
    image = save(tmp_path / "one.png", drawn(load_digits(None)[1].images[0].double().numpy(), 60))
    main([str(tmp_path / "one_lost.ckpt"), str(image), str(image), "--out", str(tmp_path / "out")])
    assert "left out, because its training diverged: net 1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path / "one_lost.ckpt"), "--replica", "1", "--state_dict", str(tmp_path / "net.pt")])
    assert "not finite in net 1: its training diverged" in capsys.readouterr().err
    (nets,) = load_nets([tmp_path / "one_lost.ckpt"])
    assert nets.count == "2 nets"


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give images"),
        (["one.png"], "give two images"),
        (["a.png", "b.png", "c.png"], "got 3"),
        (["pairs.csv"], "No such file"),
        (["--replica", "9", "--state_dict", "x.pt"], "replica must be from 0 to 2"),
        (["--state_dict", "x.pt"], "say which to export"),
        (["--replica", "one"], "--replica"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    arguments: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(checkpoint), *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_one_replica_of_a_checkpoint_is_the_one_that_was_trained(checkpoint: Path) -> None:
    three = load_model(checkpoint)
    assert isinstance(three, AuxiliaryLoss)
    one = three.replica(2).network.state_dict()
    for name, value in export_replica(three.network.state_dict(), 2, 3).items():
        assert torch.equal(one[name], value)
