"""Which comparisons were got wrong: counted pair by pair, joined over programs, members and processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, WeightSharing
from lightning_modules.evaluation.mistakes import MAX_WORST, Mistakes, find_mistakes, join_pairs, join_runs

TINY = ["--accelerator", "cpu", "--max_epochs", "2", "--train_pairs", "100", "--val_pairs", "30"]
TINY += ["--test_pairs", "120", "--workers", "1", "--name", "study"]


def asked(runs: int) -> tuple[torch.Tensor, ...]:
    """Logits of untrained nets, and the test pairs they are about."""
    seeds = list(range(runs))
    data = DigitPairs(seed=seeds, test_pairs=90, batch_size=90)
    data.setup()
    images, target, classes = next(iter(data.test_dataloader()))
    with torch.no_grad():
        return WeightSharing(seed=seeds).eval()(images).pair, images, target, classes


def part(batch: tuple[torch.Tensor, ...], pairs: slice, runs: slice) -> Mistakes:
    logits, images, target, classes = (tensor[pairs] for tensor in batch)
    own = images.unflatten(1, (-1, 2))[:, runs].flatten(1, 2)
    return find_mistakes(logits[:, runs], own, target[:, runs], classes[:, runs])


ALL = slice(None)


def test_every_pair_is_counted_by_its_run_and_digits_and_the_worst_are_the_surest_wrong_ones() -> None:
    batch = asked(runs=3)
    logits, images, target, classes = batch
    found = part(batch, ALL, ALL)
    pairs, wrong, sure = np.zeros((3, 10, 10)), np.zeros((3, 10, 10)), []
    for n in range(90):
        for run in range(3):
            first, second = classes[n, run].tolist()
            odds = (logits[n, run, 1] - logits[n, run, 0]).item()
            pairs[run, first, second] += 1
            if (odds > 0) != (first <= second):
                wrong[run, first, second] += 1
                sure.append((-abs(odds), n, run))
    assert np.array_equal(found.pairs, pairs)
    assert np.array_equal(found.wrong, wrong)
    worst = sorted(sure)[:MAX_WORST]
    assert len(worst) == MAX_WORST
    for k, (odds, n, run) in enumerate(worst):
        assert abs(found.log_odds[k]) == pytest.approx(-odds)
        assert found.run[k] == run
        assert found.digits[k].tolist() == classes[n, run].tolist()
        assert np.abs(found.images[k] - images[n, 2 * run : 2 * run + 2].numpy()).max() <= 0.5
    assert target.shape == (90, 3)


def test_parts_joined_are_the_whole_whether_of_pairs_or_of_runs() -> None:
    batch = asked(runs=3)
    whole = part(batch, ALL, ALL)
    by_pairs = join_pairs([part(batch, some, ALL) for some in (slice(0, 40), slice(40, 90))])
    by_runs = join_runs([part(batch, ALL, some) for some in (slice(0, 2), slice(2, 3))])
    for joined in (by_pairs, by_runs):
        for name in ("pairs", "wrong", "run", "digits", "log_odds", "images"):
            assert np.array_equal(getattr(joined, name), getattr(whole, name)), name


def test_a_net_that_diverged_is_counted_and_sure_of_nothing() -> None:
    logits, *rest = asked(runs=1)
    found = find_mistakes(torch.full_like(logits, float("nan")), *rest)
    wrong = (logits.new_zeros(90, 1) != rest[1]).sum()  # argmax of NaN is the first
    assert found.wrong.sum() == wrong
    assert not found.log_odds.any()


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e30])
def test_a_net_that_diverged_does_not_crowd_out_the_others_worst_mistakes(value: float) -> None:
    logits, images, target, classes = asked(runs=3)
    rest = (images, target, classes)
    spoilt = logits.clone()
    spoilt[:, 1, 0] = value
    sound = torch.tensor([True, False, True])
    found, whole = find_mistakes(spoilt, *rest, sound), find_mistakes(logits, *rest, sound)
    assert 1 not in found.run
    assert np.array_equal(found.images, whole.images)
    assert np.array_equal(found.wrong[[0, 2]], whole.wrong[[0, 2]])
    if abs(value) == float("inf"):
        assert np.isfinite(find_mistakes(spoilt, *rest).log_odds).all()
        assert find_mistakes(spoilt, *rest).log_odds.__abs__().max() < 1e6


@pytest.mark.parametrize(
    "flags",
    [
        ["--runs", "3", "--model", "cnn", "--replicas", "2"],
        ["--runs", "2", "--model", "auxiliary", "--recipe", "modern", "--width", "4", "--ensemble", "2"],
    ],
    ids=["programs", "ensemble"],
)
def test_a_run_folder_keeps_mistakes_that_add_up_to_the_errors(flags: list[str], tmp_path: Path) -> None:
    train.main([*TINY, "--log_dir", str(tmp_path), *flags])
    folder = tmp_path / "study"
    rows = json.loads((folder / "results.json").read_text())["rows"]
    for model in {row["model"] for row in rows}:
        errors = [row["test_error"] for row in rows if row["model"] == model]
        with np.load(folder / model / "mistakes.npz", allow_pickle=False) as arrays:
            assert np.all(arrays["pairs"].sum((1, 2)) == 120)
            assert arrays["wrong"].sum((1, 2)) / 120 == pytest.approx(np.array(errors), abs=1e-6)
            assert np.all(arrays["pairs"] >= arrays["wrong"])
            right = arrays["digits"][:, 0] <= arrays["digits"][:, 1]
            assert np.all((arrays["log_odds"] > 0) != right)
            assert arrays["images"].max() > 200


def test_the_worst_mistake_is_what_the_checkpoint_says_of_that_pair(tmp_path: Path) -> None:
    train.main([*TINY, "--log_dir", str(tmp_path), "--runs", "2", "--model", "auxiliary"])
    folder = tmp_path / "study" / "auxiliary"
    module = AuxiliaryLoss.load_from_checkpoint(folder / "checkpoint.ckpt", weights_only=True).eval()
    with np.load(folder / "mistakes.npz") as arrays:
        run, digits, odds, images = (arrays[name][0] for name in ("run", "digits", "log_odds", "images"))
    data = DigitPairs(seed=[0, 1], train_pairs=100, val_pairs=30, test_pairs=120, batch_size=120)
    data.setup()
    shown, _, classes = next(iter(data.test_dataloader()))
    own = shown[:, 2 * run : 2 * run + 2]
    pair = int((own - torch.from_numpy(images)).abs().sum((1, 2, 3)).argmin())
    assert classes[pair, run].tolist() == digits.tolist()
    with torch.no_grad():
        logits = module(shown).pair[pair, run]
    assert (logits[1] - logits[0]).item() == pytest.approx(float(odds), abs=1e-3)
