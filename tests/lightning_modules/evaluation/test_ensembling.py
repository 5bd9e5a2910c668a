"""Ensembles and restarts: several trainings stand for one run, selected and averaged as they say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import train
from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, WeightSharing
from lightning_modules.evaluation.ensembling import Ensembling, average
from lightning_modules.models.loading import load_model, select_runs
from lightning_modules.models.recipes import MODERN, resolve
from lightning_modules.networks.heads import compare
from lightning_modules.predict.inference import answer
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.studies import make_study

TINY = ["--accelerator", "cpu", "--recipe", "modern", "--width", "4", "--max_epochs", "3"]
TINY += ["--train_pairs", "100", "--val_pairs", "30", "--test_pairs", "40", "--workers", "1"]

small = st.integers(1, 4)


def run(log_dir: Path, name: str, *args: str) -> list[dict[str, Any]]:
    train.main([*TINY, "--log_dir", str(log_dir), "--name", name, *args])
    return json.loads((log_dir / name / "results.json").read_text())["rows"]


@settings(max_examples=30)
@given(
    runs=st.integers(1, 4), ensemble=st.integers(1, 3), restarts=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_the_best_restart_of_each_member_is_chosen_within_its_run(
    runs: int, ensemble: int, restarts: int, seed: int
) -> None:
    losses = torch.rand(runs, ensemble, restarts, generator=torch.Generator().manual_seed(seed))
    selected = Ensembling(ensemble, restarts).select(losses.flatten())
    assert selected.shape == (runs, ensemble)
    assert torch.equal(losses.flatten()[selected], losses.amin(-1))
    assert torch.equal(
        selected // (ensemble * restarts), torch.arange(runs).unsqueeze(1).expand(runs, ensemble)
    )


def test_the_first_member_is_the_run_itself_and_all_members_differ() -> None:
    seeds = [seed for run in range(50) for seed in Ensembling(3, 2).seeds(run)]
    assert seeds[::6] == list(range(50))
    assert len(set(seeds)) == 300


@pytest.mark.parametrize("name", ["ensemble", "restarts"])
def test_a_team_of_nobody_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Ensembling(**{name: 0})


def test_digit_posteriors_are_averaged_where_digits_are_told_and_the_comparisons_elsewhere() -> None:
    data = DigitPairs(seed=[5, 5, 8, 8], stream_seed=[1, 2, 3, 4], test_pairs=20)
    data.setup()
    images = next(iter(data.test_dataloader()))[0]
    selected = torch.tensor([[0, 1], [2, 3]])
    told = AuxiliaryLoss(seed=[1, 2, 3, 4], head="exact").eval()
    outputs = told(images)
    assert outputs.digits is not None
    posteriors = outputs.digits.softmax(-1).unflatten(1, (2, 2)).mean(2)
    ours = average(outputs, selected, told)
    assert ours.digits is not None
    torch.testing.assert_close(ours.digits.softmax(-1), posteriors)
    torch.testing.assert_close(ours.pair, compare(posteriors))
    untold = WeightSharing(seed=[1, 2, 3, 4]).eval()
    outputs = untold(images)
    expected = outputs.pair.softmax(-1).unflatten(1, (2, 2)).mean(2)
    torch.testing.assert_close(average(outputs, selected, untold).pair.softmax(-1), expected)


def test_a_run_of_an_ensemble_has_its_pairs_and_reports_members_beside_it(tmp_path: Path) -> None:
    flags = ["--model", "auxiliary", "--runs", "2"]
    alone, team = run(tmp_path, "alone", *flags), run(tmp_path, "team", *flags, "--ensemble", "2")
    assert [row["seed"] for row in team] == [row["seed"] for row in alone] == [0, 1]
    for row in team:
        assert {"test_error", "member_test_error", "test_digit_error", "val_error"} <= row.keys()
    assert "member_test_error" not in alone[0]


def test_an_ensembles_training_error_is_of_the_pairs_that_its_members_have_in_common(tmp_path: Path) -> None:
    """Members see them in orders of their own; mixed up, they would be as good as guesses."""
    flags = [
        "--model",
        "auxiliary",
        "--runs",
        "1",
        "--width",
        "16",
        "--max_epochs",
        "12",
        "--batch_size",
        "10",
    ]
    (row,) = run(tmp_path, "team", *flags, "--ensemble", "2")
    assert row["train_error"] < 0.15


@pytest.mark.slow
def test_a_team_does_not_depend_on_how_runs_are_spread_over_programs(tmp_path: Path) -> None:
    flags = ["--model", "weight_sharing", "--runs", "3", "--restarts", "2", "--precision", "64-true"]
    one = run(tmp_path, "one", *flags, "--replicas", "6")
    assert run(tmp_path, "three", *flags, "--replicas", "2") == one


@pytest.mark.parametrize(
    ("more", "divided"),
    [
        ({"ensemble": 10}, [1, 1, 1]),
        ({"ensemble": 8}, [1, 2]),
        ({"ensemble": 5, "restarts": 6}, [1, 1, 1]),
        ({"restarts": 5}, [3]),
    ],
)
def test_no_program_has_more_trainings_than_16_or_one_runs(more: dict[str, int], divided: list[int]) -> None:
    settings = resolve(MODERN, ["weight_sharing"], more)["weight_sharing"]
    study = make_study(settings, range(3), DigitPairs, {"accelerator": "cpu"}, ExecutionConfig(workers=1))
    assert study.divide() == divided


def test_restarts_that_are_not_finite_or_not_sound_are_never_chosen() -> None:
    nan, inf = float("nan"), float("inf")
    assert Ensembling(1, 3).select(torch.tensor([0.5, nan, 0.4])).tolist() == [[2]]
    assert Ensembling(1, 3).select(torch.tensor([nan, -inf, 7.0])).tolist() == [[2]]
    assert Ensembling(2, 2).select(torch.tensor([nan, 0.1, 0.2, nan])).tolist() == [[1, 2]]
    assert Ensembling(1, 2).select(
        torch.tensor([0.1, 0.2, nan, nan]), [False, True, True, True]
    ).tolist() == [
        [1],
        [2],
    ]


@pytest.mark.parametrize("flag", ["--restarts", "--ensemble"])
def test_a_checkpoint_answers_as_the_nets_that_were_tested(flag: str, tmp_path: Path) -> None:
    """Losers of restarts are not in it, all members are; what an ensemble's run is, its checkpoint says."""
    rows = run(tmp_path, "team", "--model", "weight_sharing", "--runs", "2", flag, "3")
    path = tmp_path / "team" / "weight_sharing" / "checkpoint.ckpt"
    data = DigitPairs(seed=[0, 1], train_pairs=100, val_pairs=30, test_pairs=40, batch_size=40)
    data.setup()
    images, target, _ = next(iter(data.test_dataloader()))
    members = [seed for run in range(2) for seed in Ensembling(3, 1).seeds(run)]
    for number, row in enumerate(rows):
        model = load_model(path)
        assert len(model.seeds) == 2 if flag == "--restarts" else model.seeds == members
        select_runs(model, path, number)
        answers = answer(model, images[:, 2 * number : 2 * number + 2])
        said = [reply.greater <= 0.5 for reply in answers]
        error = (
            sum(at_most != bool(right) for at_most, right in zip(said, target[:, number], strict=True)) / 40
        )
        assert error == pytest.approx(row["test_error"])
    hyperparameters = torch.load(path, weights_only=True)["datamodule_hyper_parameters"]
    assert len(hyperparameters["seed"]) == len(load_model(path).seeds)
