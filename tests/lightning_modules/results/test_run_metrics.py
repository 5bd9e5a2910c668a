"""Metrics that are fields of `Run`, measured by a module and by an ensemble."""

import pytest
import torch
from torch import Tensor

from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, PlainCNN
from lightning_modules.evaluation.ensembling import EnsembleTest
from lightning_modules.results.metrics import Answers
from lightning_modules.results.runs import METRICS, ModelRuns, Run, by_name, measure
from lightning_modules.training.runner import make_trainer


def expected_calibration_error(probability: Tensor, target: Tensor) -> float:
    """By its definition: |mean probability - frequency| of each of 15 bins, weighted by its pairs."""
    bins = (probability * 15).long().clamp(max=14)
    gaps = [(probability - target)[bins == number].sum().abs() for number in range(15)]
    return float(sum(gaps)) / len(probability)


def test_the_calibration_error_of_each_run_is_of_all_its_own_pairs() -> None:
    data = DigitPairs(seed=[0, 1], test_pairs=600)
    data.setup()
    module = PlainCNN(seed=[0, 1])
    make_trainer({"accelerator": "cpu"}).test(module, data.test_dataloader(), verbose=False)
    found = module.epoch_metrics("test")["test/calibration_error"]
    module.eval()
    answers = [(module.predict_step(images, 0), target) for images, target, _ in data.test_dataloader()]
    assert len(answers) > 1
    probability, target = (torch.cat(parts).detach() for parts in zip(*answers, strict=True))
    for r in range(2):
        expected = expected_calibration_error(probability[:, r], target[:, r])
        assert found[r].item() == pytest.approx(expected, abs=1e-6)
    assert not {*module.epoch_metrics("train"), *module.epoch_metrics("val")}  # only the test had pairs


def test_an_ensemble_is_measured_by_its_mean_probability() -> None:
    data = DigitPairs(seed=[3, 3], stream_seed=[1, 2], test_pairs=40)
    data.setup()
    module = PlainCNN(seed=[1, 2])
    tested = EnsembleTest(module, torch.tensor([[0, 1]]))
    make_trainer({"accelerator": "cpu"}).test(tested, data.test_dataloader(), verbose=False)
    ((images, target, _),) = data.test_dataloader()
    probability = module.eval().predict_step(images, 0).detach().mean(1)
    expected = expected_calibration_error(probability, target[:, 0])
    assert tested.epoch_metrics("test")["test/calibration_error"].item() == pytest.approx(expected, abs=1e-6)


def test_what_a_model_has_not_is_not_measured() -> None:
    pair, target = torch.randn(5, 2, 2), torch.ones(5, 2, dtype=torch.int64)
    without = Answers(pair, target)
    told = Answers(pair, target, torch.randn(5, 2, 2, 10), torch.zeros(5, 2, 2, dtype=torch.int64))
    assert measure("train", without).keys() == {"error"}
    assert measure("train", told).keys() == {"error", "digit_error"}
    assert measure("test", told).keys() == {"error", "digit_error", "calibration_error"}


def test_every_metric_of_answers_has_a_column_in_the_report_and_a_tag_of_its_name() -> None:
    run = Run(0, 0.1, 0.2, test_digit_error=0.3, test_calibration_error=0.4, all_test_error=0.5)
    tagged = ModelRuns("auxiliary", "paper", [run]).tagged()
    assert tagged == {"test/error": [0.2], "test/digit_error": [0.3], "test/calibration_error": [0.4]}
    assert by_name(tagged | {"test/loss": [9.0]}) == {tag.replace("/", "_"): tagged[tag] for tag in tagged}
    assert all(about.label for about in METRICS.values())


def test_digits_are_measured_where_labels_tell_them() -> None:
    data = DigitPairs(seed=[0], test_pairs=40)
    data.setup()
    module = AuxiliaryLoss(seed=[0])
    make_trainer({"accelerator": "cpu"}).test(module, data.test_dataloader(), verbose=False)
    ((images, _, classes),) = data.test_dataloader()
    wrong = module.eval()(images).digits.argmax(-1) != classes
    assert module.epoch_metrics("test")["test/digit_error"].item() == pytest.approx(
        wrong.float().mean().item()
    )
