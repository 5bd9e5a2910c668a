"""Pictures are brought to MNIST's form, nets answer about them, and nets can be taken elsewhere."""

import csv
import io
import pickle
import struct
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from scipy import ndimage
from scipy.special import expit
from skimage import morphology
from skimage.transform import resize

from datamodules import load_digits
from lightning_modules import AuxiliaryLoss
from lightning_modules.command.cli import CommandError
from lightning_modules.command.file_format import FORMAT
from lightning_modules.demo.nets import load_net
from lightning_modules.evaluation.ensembling import average
from lightning_modules.models.loading import load_model
from lightning_modules.models.registry import MODULES
from lightning_modules.predict.__main__ import main
from lightning_modules.predict.handwriting import as_mnist, read_digit
from lightning_modules.predict.inference import Answer, answers_table
from lightning_modules.predict.ink import NothingShownError
from lightning_modules.replicas.state import export_replica

Pixels = NDArray[np.float64]


def drawn(digit: Pixels, size: int) -> Pixels:
    """A digit, or several beside each other, the longer side so large."""
    return resize(digit / 255, [size * n // max(digit.shape) for n in digit.shape], order=1)


def page(digit: Pixels, size: int = 150, paper: float = 0.9, ink: float = 0.25) -> Pixels:
    """A digit with crisp strokes, off the middle of a page."""
    up = resize(digit / 255, (size, size), order=3, mode="constant")
    strokes = expit(14 * (ndimage.gaussian_filter(up, size / 60) - 0.4))
    margins = ((20, 220 - size), (120, 200 - size))
    return paper + (ink - paper) * np.pad(strokes, margins).astype(np.float64)


def thin(digit: Pixels, paper: float = 0.9, ink: float = 0.25) -> Pixels:
    core = morphology.skeletonize(page(digit, paper=0, ink=1) > 0.5)
    line = morphology.dilation(core, morphology.disk(2)).astype(np.float64)
    return paper + (ink - paper) * ndimage.gaussian_filter(line, 1)


def shot(picture: Pixels, light: Pixels | float = 1.0, noise: float = 0.01) -> Pixels:
    """What a camera makes of a page under some light."""
    blurred = ndimage.gaussian_filter(picture * light, 1)
    return (blurred + np.random.default_rng(0).normal(0, noise, picture.shape)).clip(0, 1)


Y, X = np.meshgrid(np.linspace(-1, 1, 240), np.linspace(-1, 1, 320), indexing="ij")


def vignette(strength: float) -> Pixels:
    return 1 - strength * (X**2 + Y**2) / 2


def slope(strength: float, angle: float) -> Pixels:
    return 1 - strength * (1 + (X * np.cos(angle) + Y * np.sin(angle)) / np.sqrt(2)) / 2


def shadow(strength: float, angle: float) -> Pixels:
    return 1 - strength * expit((X * np.cos(angle) + Y * np.sin(angle)) / 0.03)


def under(light: Pixels) -> Callable[[Pixels], Pixels]:
    return lambda digit: shot(page(digit), light)


def grid(strength: float) -> Pixels:
    """The light that the lines of squared paper leave, a little aslant."""
    y, x = np.indices(X.shape)
    across, along = x + 0.05 * y, y - 0.05 * x
    lines = (across % 28 < 1.5) | (along % 28 < 1.5)
    return 1 - strength * lines.astype(np.float64)


def compressed(picture: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray((255 * picture).astype(np.uint8)).save(file, "jpeg", quality=20)
    return np.asarray(Image.open(file), np.float64) / 255


def cut_at_the_top(digit: Pixels) -> Pixels:
    picture = page(digit, size=200)
    return picture[np.flatnonzero((picture < 0.5).any(1))[0] :]


SIGHTS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda digit: digit / 255,
    "large": lambda digit: drawn(digit, 300),
    "dark on light": lambda digit: 1 - drawn(digit, 60),
    "on a wide page": lambda digit: np.pad(1 - drawn(digit, 60), ((20, 20), (90, 30)), constant_values=1),
    "small": lambda digit: shot(page(digit, size=40), vignette(0.3)),
    "noisy": lambda digit: shot(page(digit), vignette(0.3), noise=0.1),
    "compressed": lambda digit: compressed(shot(page(digit), vignette(0.3))),
    "thin": lambda digit: shot(thin(digit), vignette(0.2)),
    "pencil": lambda digit: shot(thin(digit, paper=0.98, ink=0.84), vignette(0.2)),
    "faint": lambda digit: shot(page(digit, paper=0.98, ink=0.84), slope(0.3, 1)),
    "squared paper": lambda digit: shot(page(digit), vignette(0.2) * grid(0.3)),
    "touching the border": lambda digit: shot(cut_at_the_top(digit)),
    "dotted": lambda digit: shot(np.where(np.indices(X.shape).sum(0) % 8 < 4, page(digit), 0.9)),
    "chalk": lambda digit: shot(page(digit, paper=0.15, ink=0.85), vignette(0.5)),
    "chalk in a slope": lambda digit: shot(page(digit, paper=0.15, ink=0.85), slope(0.5, 4)),
    "red on green": lambda digit: page(digit)[..., None] * [-1, 0.3, 0] + [0.95, 0.4, 0.3],
    **{f"vignette {s}": under(vignette(s)) for s in (0.1, 0.2, 0.35, 0.5)},
    **{f"slope from {angle}": under(slope(0.6, angle)) for angle in (0, 2, 4)},
    **{f"shadow from {angle}": under(shadow(0.4, angle)) for angle in (1, 3, 5)},
}


def save(path: Path, grey: Pixels) -> Path:
    Image.fromarray((255 * grey).round().astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_digit_is_read_as_itself_however_it_is_shown(sight: str, checkpoint: Path) -> None:
    model = load_model(checkpoint).replica(0).eval()
    test = load_digits(None)[1].images[:8]
    seen = torch.from_numpy(np.stack([as_mnist(SIGHTS[sight](digit)) for digit in test.double().numpy()]))
    assert seen.min() == 0
    assert seen.max() <= 255
    plain, shown = (
        model.network(digits.unsqueeze(1).expand(-1, 2, -1, -1)).digits[:, 0, 0].argmax(-1)
        for digits in (test.float(), seen)
    )
    assert (shown != plain).sum() <= 1


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("paper", [0.1, 0.5, 0.95])
def test_a_page_without_ink_shows_no_digit(paper: float, noise: float) -> None:
    for light in (vignette(0.4), slope(0.6, 1), shadow(0.4, 2)):
        with pytest.raises(NothingShownError, match="no digit"):
            as_mnist(shot(np.full(X.shape, paper), light, noise))


@pytest.mark.parametrize("axis", [0, 1])
def test_two_digits_in_a_picture_are_said_and_not_squeezed_into_one(axis: int) -> None:
    digits = load_digits(None)[1].images[:20].double().numpy()
    for first, second in zip(digits[::2], digits[1::2], strict=True):
        both = 1 - np.pad(drawn(np.concatenate([first, second], axis), 200), 30)
        with pytest.raises(ValueError, match="shows 2 digits"):
            as_mnist(both)


def test_a_digit_of_several_strokes_is_one_digit() -> None:
    five = np.ones((120, 100))
    five[20:28, 40:75] = 0  # the bar, apart from the rest
    five[24:60, 30:37] = 0
    five[60:68, 30:65] = five[68:95, 60:68] = five[95:103, 25:65] = 0
    assert as_mnist(five)[2:5, 7:10].max() > 100
    five[5:7, 5:7] = 0  # and a speck
    assert as_mnist(five)[2:5, 7:10].max() > 100


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
        ("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
        ("LA", (255, 255), (0, 0)),
        ("RGB", (230, 76, 76), (51, 158, 51)),
        ("RGB", (255, 255, 0), (255, 255, 255)),
        ("F", 0.1, 0.9),
        ("F", -300.0, 700.0),
        ("I", 4000, 100),
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
    image.save(tmp_path / "one.tiff")
    seen = read_digit(tmp_path / "one.tiff")
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


@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "floats"])
def test_a_page_that_is_blank_but_for_noise_shows_no_digit_in_any_format(kind: str, tmp_path: Path) -> None:
    noise = (250 + np.random.default_rng(0).integers(0, 5, (260, 260))).astype(np.uint8)
    values: dict[str, NDArray[Any]]
    values = {"8 bits": noise, "16 bits": noise.astype(np.uint16) * 257, "floats": noise / np.float32(255)}
    Image.fromarray(values[kind]).save(tmp_path / "blank.tiff")
    with pytest.raises(CommandError, match="shows no digit"):
        read_digit(tmp_path / "blank.tiff")


def test_hot_pixels_do_not_hide_the_digit_of_a_12_bit_camera(tmp_path: Path) -> None:
    raw = (4000 * page(load_digits(None)[1].images[0].double().numpy())).astype(np.uint16)
    raw[5, 5] = 65535
    Image.fromarray(raw).save(tmp_path / "raw.png")
    np.testing.assert_allclose(read_digit(tmp_path / "raw.png"), as_mnist(raw / 4095), atol=8)


def test_a_photo_of_108_million_pixels_is_read_and_one_of_a_billion_is_not(tmp_path: Path) -> None:
    small = page(load_digits(None)[1].images[0].double().numpy())
    Image.fromarray((255 * small).astype(np.uint8)).resize((12000, 9000)).save(tmp_path / "phone.jpg")
    seen = read_digit(tmp_path / "phone.jpg")
    assert (seen * as_mnist(small)).sum() / np.linalg.norm(seen) / np.linalg.norm(as_mnist(small)) > 0.85
    header = bytearray((tmp_path / "phone.jpg").read_bytes()[:2000])
    start = header.index(b"\xff\xc0") + 5  # height and width, in the frame header
    header[start : start + 4] = struct.pack(">HH", 40000, 25000)
    (tmp_path / "billion.jpg").write_bytes(header)
    with pytest.raises(CommandError, match="1000 million pixels; give at most 250"):
        read_digit(tmp_path / "billion.jpg")


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


def test_a_picture_that_cannot_be_read_costs_its_own_pair_only(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = load_digits(None)[1].images[:2].double().numpy()
    for name, digit in zip(("one", "other", "a[red]b", "bad\udcff"), [*digits, *digits], strict=True):
        save(tmp_path / f"{name}.png", 1 - drawn(digit, 80))
    save(tmp_path / "two.png", 1 - np.pad(drawn(np.hstack(list(digits)), 200), 30))
    bad = bad_files(tmp_path) | {"two.png": "shows 2 digits"}
    rows = [f"one.png,{name}" for name in bad] + ["text.png,blank.png", "one.png,other.png"]
    (tmp_path / "pairs.csv").write_text("\n".join([*rows, "a[red]b.png,one.png"]))
    arguments = ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main([str(checkpoint), str(tmp_path / "pairs.csv"), *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert f"{len(bad) + 1} of {len(bad) + 3} pairs have no answer" in said.err
    assert said.err.count("\n") == 1
    answers = list(csv.DictReader((tmp_path / "out" / "answers.csv").open()))
    assert ["" if row["larger"] else "none" for row in answers] == ["none"] * (len(bad) + 1) + ["", ""]
    for row, (name, message) in zip(answers, bad.items(), strict=False):
        assert name in row["reason"]
        assert message in row["reason"]
        assert f"no answer: {row['reason']}" in said.out
    assert all(name in answers[len(bad)]["reason"] for name in ("text.png", "blank.png"))
    assert "a[red]b.png" in said.out
    main([str(checkpoint), str(tmp_path / "one.png"), str(tmp_path / "bad\udcff.png"), *arguments])
    assert "bad\\xff.png" in (tmp_path / "out" / "answers.csv").read_text()


def test_names_in_the_table_differ_where_the_files_do() -> None:
    common = Path("/home/a_person/pictures/of/handwritten/digits/that_were_scanned_on_a_day")
    pairs = [(common / side / f"a_long_name_before_the_number_{n}.png", common / side / "[b].png")
             for side in ("first", "second") for n in (1, 2)]  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    console.print(answers_table(pairs, [Answer(0.9, (1, 2)), None, Answer(0.2, None), None]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    lefts = "".join(line.split("│")[1].strip() for line in text.splitlines() if "│" in line)
    for side in ("first", "second"):
        for n in (1, 2):
            assert f"{side}/a_long_name_before_the_number_{n}.png" in lefts
    rights = "".join(line.split("│")[2].strip() for line in text.splitlines() if "│" in line)
    assert rights.count("/[b].png") == 4
    assert "a_person" not in text


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
    assert load_net(tmp_path / "one_lost.ckpt").runs == 2


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
        (["", ""], "images must not be empty"),
        (["a.png", "b.png", "--out="], "out must not be empty"),
        (["--onnx="], "onnx must not be empty"),
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
