"""The demo's command writes one page, with the nets that it says, and that may reach nothing."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_nets import write_net, write_study_results

from datamodules import load_digits
from lightning_modules.demo.__main__ import main
from lightning_modules.demo.nets import load_net
from lightning_modules.models.registry import MODULES
from lightning_modules.predict.inference import answer


def content(page: Path) -> dict[str, Any]:
    """What the page is told."""
    (found,) = re.findall(
        r'<script type="application/json" id="content">(.*)</script>\n<script>', page.read_text()
    )
    return dict(json.loads(found))


def test_a_page_of_a_study_lies_beside_it_and_says_what_is_known(
    small_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(small_study)])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{small_study / 'cnn' / 'checkpoint.ckpt'}: the net of seed 0, one of 1"
    assert said[1] == f"{small_study / 'auxiliary' / 'checkpoint.ckpt'}: the net of seed 0, one of 3"
    assert said[2].startswith(f"{small_study / 'duel.html'}: 0.")
    told = content(small_study / "duel.html")["nets"]
    assert [(net["model"], net["testError"], net["recipe"]) for net in told] == [
        ("cnn", None, None),
        ("auxiliary", None, None),
    ]


@pytest.mark.parametrize(
    ("val_errors", "diverged", "seed"),
    [
        ([0.3, 0.2, 0.1], [False] * 3, 2),
        ([0.3, 0.1, 0.1], [False] * 3, 1),
        ([None] * 3, [False] * 3, 0),
    ],
)
def test_the_net_of_the_lowest_validation_error_stands_for_its_model(
    val_errors: list[float | None], diverged: list[bool], seed: int, tmp_path: Path, checkpoint: Path
) -> None:
    net_folder = tmp_path / "study" / "auxiliary"
    net_folder.mkdir(parents=True)
    (net_folder / "checkpoint.ckpt").symlink_to(checkpoint)
    write_study_results(tmp_path / "study", val_errors, diverged)
    net = load_net(net_folder / "checkpoint.ckpt")
    assert (net.model.seeds, net.recipe, net.runs) == ([seed], "modern", 3)
    assert net.test_error == pytest.approx(0.01 * (seed + 1))


def test_a_net_that_diverged_does_not_stand_for_its_model(tmp_path: Path, checkpoint: Path) -> None:
    broken = torch.load(checkpoint, weights_only=True)
    for values in broken["state_dict"].values():
        if values.is_floating_point() and values.dim():
            values[: len(values) // 3] = torch.nan
    folder = tmp_path / "study" / "auxiliary"
    folder.mkdir(parents=True)
    torch.save(broken, folder / "checkpoint.ckpt")
    write_study_results(tmp_path / "study", [None, 0.2, 0.3], [True, False, False])
    net = load_net(folder / "checkpoint.ckpt")
    assert net.model.seeds == [1]
    assert net.test_error == pytest.approx(0.02)


def test_of_an_ensemble_the_first_net_of_the_best_run_is_on_the_page(tmp_path: Path) -> None:
    nets = MODULES["auxiliary"](seed=[5, 6, 7, 8])
    path = write_net(tmp_path / "study" / "auxiliary" / "checkpoint.ckpt", nets)
    torch.save(torch.load(path, weights_only=True) | {"ensemble": 2}, path)
    write_study_results(tmp_path / "study", [0.2, 0.1], [False] * 2)
    net = load_net(path)
    assert (net.model.seeds, net.runs, net.ensemble) == ([7], 2, 2)
    assert net.test_error == pytest.approx(0.02)
    first = nets.replica(2).network.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in net.model.network.state_dict().items())
    main([str(path)])
    (told,) = content(path.parent / "duel.html")["nets"]
    assert (told["seed"], told["runs"], told["ensemble"]) == (7, 2, 2)


def test_the_digits_of_the_page_are_those_of_the_studys_own_data(
    tmp_path: Path, write_dataset: Callable[..., Path], real_digits: dict[str, np.ndarray]
) -> None:
    data_dir = write_dataset(subfolder="data")
    path = write_net(tmp_path / "study" / "cnn" / "checkpoint.ckpt", MODULES["cnn"](seed=[0]))
    write_study_results(tmp_path / "study", [0.2], [False])
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    results["config"]["data_dir"] = str(data_dir / "data")
    (tmp_path / "study" / "results.json").write_text(json.dumps(results))
    main([str(path)])
    told = content(path.parent / "duel.html")
    quarters = np.frombuffer(b64decode(told["pixels"]), np.uint16).reshape(-1, 14, 14)
    own = 4 * load_digits(str(data_dir / "data"))[1].images.numpy()
    assert len(own) == len(real_digits["test_labels"])
    for image in quarters:
        assert (own == image).all((1, 2)).any()


def test_the_best_net_leads_and_hard_pairs_are_wrong_for_some_net(small_study: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    for model in ("cnn", "auxiliary"):
        (study / model).mkdir(parents=True)
        (study / model / "checkpoint.ckpt").symlink_to(small_study / model / "checkpoint.ckpt")
    write_study_results(study, [0.1, 0.2, 0.3], [False] * 3)
    main([str(study), "--out", str(tmp_path / "duel.html")])
    told = content(tmp_path / "duel.html")
    assert [(net["model"], net["testError"]) for net in told["nets"]] == [("auxiliary", 0.01), ("cnn", 0.4)]
    assert all(told["labels"].count(digit) >= 4 for digit in range(10))
    models = [load_net(study / name / "checkpoint.ckpt").model for name in ("auxiliary", "cnn")]
    quarters = torch.frombuffer(bytearray(b64decode(told["pixels"])), dtype=torch.uint16)
    images = quarters.float().view(-1, 14, 14) / 4
    assert (load_digits(None)[1].images == images[0]).flatten(1).all(1).any()
    assert 6 <= len(told["hard"]) <= 12
    for left, right in told["hard"]:
        is_left = told["labels"][left] > told["labels"][right]
        says = [answer(model, images[[left, right]].unsqueeze(0))[0].greater > 0.5 for model in models]
        assert says != [is_left, is_left]


def test_the_page_is_one_file_that_may_reach_nothing(small_study: Path, tmp_path: Path) -> None:
    main([str(small_study), "--out", str(tmp_path / "duel.html")])
    page = (tmp_path / "duel.html").read_text()
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z./]", page)
    assert not re.findall(r"https?:|fetch\(|XMLHttpRequest|import\(|innerHTML", page)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy


def test_a_model_named_like_markup_stays_text(small_study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "<script>"
    folder.mkdir()
    (folder / "checkpoint.ckpt").symlink_to(small_study / "cnn" / "checkpoint.ckpt")
    main([str(folder), "--out", str(tmp_path / "duel.html")])
    assert (tmp_path / "duel.html").read_text().count("<script") == 2
    assert content(tmp_path / "duel.html")["nets"][0]["model"] == "<script>"


def test_a_page_that_would_be_too_large_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_net(tmp_path / "wide" / "checkpoint.ckpt", MODULES["cnn"](trunk="modern", width=96))
    with pytest.raises(SystemExit):
        main([str(tmp_path / "wide"), "--out", str(tmp_path / "duel.html")])
    assert "a page of wide would have 6." in (said := capsys.readouterr().err)
    assert "3 MB are the most" in said
    assert not (tmp_path / "duel.html").exists()


def test_wrong_arguments_are_refused_in_one_line(
    small_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverged = torch.load(small_study / "cnn" / "checkpoint.ckpt", weights_only=True)
    next(iter(diverged["state_dict"].values())).fill_(float("nan"))
    torch.save(diverged, tmp_path / "diverged.ckpt")
    (tmp_path / "torn" / "cnn").mkdir(parents=True)
    (tmp_path / "torn" / "cnn" / "checkpoint.ckpt").symlink_to(small_study / "cnn" / "checkpoint.ckpt")
    (tmp_path / "torn" / "results.json").write_text("{")
    cases = [
        ([str(tmp_path / "diverged.ckpt")], "not finite in net 0: its training diverged; take another"),
        ([], "give the folder of a study, such as runs/NAME; `python train.py --name NAME`"),
        ([str(tmp_path)], "must be the folder of a study"),
        ([str(tmp_path / "none")], "is no file"),
        ([str(small_study), str(small_study / "cnn")], "is given several times"),
        ([str(small_study), "--out", "duel.png"], "out must be a file that ends in .html, got duel.png"),
        ([str(tmp_path / "torn")], "results.json is damaged"),
        ([str(small_study), "--port", "0"], "--port"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
        assert not said.out
