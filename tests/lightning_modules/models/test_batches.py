"""A batch of the wrong shape is refused where it arrives: torch would broadcast it and count wrongly."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DigitPairs, generate_pair_sets
from lightning_modules import AuxiliaryLoss, PairModule, PlainCNN, WeightSharing
from lightning_modules.evaluation.ensembling import EnsembleTest
from lightning_modules.evaluation.mistakes import CountMistakes, find_mistakes
from lightning_modules.models.batches import as_batch

MODELS = [PlainCNN, WeightSharing, AuxiliaryLoss]


def trainer(**arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1, **arguments},
    )


def loader(*tensors: Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*tensors), batch_size=40)


@pytest.mark.parametrize("model", MODELS)
def test_the_courses_six_tensors_are_trained_and_tested_on_as_they_are(model: type[PlainCNN]) -> None:
    """100 pairs in batches of 40: the last one is smaller."""
    torch.manual_seed(0)
    images, target, classes, test_images, test_target, test_classes = generate_pair_sets(100)
    module, mistakes = model(), CountMistakes()
    fitter = trainer(callbacks=[mistakes])
    fitter.fit(module, loader(images, target, classes), loader(test_images, test_target, test_classes))
    validated = fitter.callback_metrics["val/error"].item()
    (tested,) = fitter.test(module, loader(test_images, test_target, test_classes), verbose=False)
    outputs = module.eval()(test_images)
    error = (outputs.pair[:, 0].argmax(-1) != test_target).float().mean().item()
    assert tested["test/error"] == pytest.approx(error)
    assert validated == pytest.approx(error)
    if module.has_digit_heads:
        misread = (outputs.digits[:, 0].argmax(-1) != test_classes).float().mean().item()
        assert tested["test/digit_error"] == pytest.approx(misread)
    assert mistakes.mistakes
    assert mistakes.mistakes.wrong.sum() == round(error * 100)
    predicted = fitter.predict(module, loader(test_images))
    assert torch.cat(predicted).shape == (100, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [PlainCNN, WeightSharing])
def test_a_model_that_needs_no_digits_takes_batches_without_them(model: type[PlainCNN]) -> None:
    torch.manual_seed(0)
    images, target, *_ = generate_pair_sets(100)
    module, fitter = model(), trainer()
    fitter.fit(module, loader(images, target), loader(images, target))
    fitter.test(module, loader(images, target), verbose=False)
    fitter.predict(module, DataLoader(images, batch_size=40))  # type: ignore[arg-type]


def parts(replicas: int, pairs: int = 6) -> list[Tensor]:
    images = torch.rand(pairs, 2 * replicas, 14, 14)
    return [images, torch.randint(2, (pairs, replicas)), torch.randint(10, (pairs, replicas, 2))]


def test_with_one_replica_its_dimension_may_be_missing_from_the_labels() -> None:
    images, target, classes = parts(1)
    batch = as_batch((images, target[:, 0], classes[:, 0]), 1, labelled=True)
    for given, taken in zip((images, target, classes), batch, strict=True):
        assert taken is not None
        assert torch.equal(given, taken)


WRONG = [
    (3, 1, lambda target: target[:, 0], r"target must have shape \(N, 3\).*got \(6,\)"),
    (3, 1, lambda target: target[:, :1], r"target must have shape \(N, 3\).*got \(6, 1\)"),
    (3, 1, lambda target: target.T, r"target must have shape \(N, 3\).*\(6, 6, 14, 14\).*got \(3, 6\)"),
    (1, 1, lambda target: target.T, r"target must have shape \(N, 1\).*got \(1, 6\)"),
    (1, 1, lambda target: target[:, :, None], r"target must have shape \(N, 1\).*got \(6, 1, 1\)"),
    (1, 1, lambda target: target[:5], r"images must be 5 pairs.*got 6"),
    (1, 1, lambda target: target[0, 0], r"target must have shape \(N, 1\).*got \(\)"),
    (1, 1, lambda target: target.float(), "target must be whole numbers, got torch.float32"),
    (1, 1, lambda target: target.tolist(), "target must be a tensor, got list"),
    (1, 1, lambda target: target[:0], "at least one pair"),
    (3, 2, lambda classes: classes[:, 0], r"classes must have shape \(6, 3, 2\).*got \(6, 2\)"),
    (1, 2, lambda classes: classes[..., 0], r"classes must have shape \(6, 1, 2\).*got \(6, 1\)"),
    (1, 2, lambda classes: classes[:5], r"classes must have shape \(6, 1, 2\).*got \(5, 1, 2\)"),
    (1, 2, lambda classes: classes[:1], r"classes must have shape \(6, 1, 2\).*got \(1, 1, 2\)"),
    (3, 0, lambda images: images[:, :2], r"images must have shape \(N, 6, 14, 14\).*3 seeds.*got \(6, 2,"),
    (1, 0, lambda images: images[:, :1], r"images must have shape \(N, 2, 14, 14\).*got \(6, 1, 14, 14\)"),
    (1, 0, lambda images: images[0], r"images must have shape \(N, 2, 14, 14\).*got \(2, 14, 14\)"),
    (1, 0, lambda images: images.repeat(1, 1, 2, 2), r"got \(6, 2, 28, 28\)"),
]


@pytest.mark.parametrize("step", ["training_step", "validation_step", "test_step"])
@pytest.mark.parametrize(("replicas", "part", "spoil", "message"), WRONG)
def test_any_other_shape_is_refused_in_every_step(
    replicas: int, part: int, spoil: Any, message: str, step: str
) -> None:
    batch: list[Any] = parts(replicas)
    batch[part] = spoil(batch[part])
    with pytest.raises(ValueError, match=message) as refusal:
        getattr(AuxiliaryLoss(seed=range(replicas)), step)(batch, 0)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("replicas", "part", "spoil", "message"), WRONG)
def test_any_other_shape_is_refused_where_mistakes_are_counted(
    replicas: int, part: int, spoil: Any, message: str
) -> None:
    batch: list[Any] = parts(replicas)
    batch[part] = spoil(batch[part])
    with pytest.raises(ValueError, match=message):
        find_mistakes(torch.zeros(6, replicas, 2), *batch)


@pytest.mark.parametrize(("replicas", "part", "spoil", "message"), WRONG)
def test_any_other_shape_is_refused_where_teams_are_tested(
    replicas: int, part: int, spoil: Any, message: str
) -> None:
    batch: list[Any] = parts(replicas)
    batch[part] = spoil(batch[part])
    team = EnsembleTest(AuxiliaryLoss(seed=range(replicas)), torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=message):
        team.test_step(batch, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images", [torch.rand(2, 14, 14), torch.rand(6, 4, 14, 14), torch.rand(6, 2, 14, 13), torch.rand(2)]
)
def test_images_of_another_shape_are_refused_in_prediction_too(images: Tensor) -> None:
    module = WeightSharing()
    for predict in (lambda: module(images), lambda: module.predict_step((images,), 0)):
        with pytest.raises(ValueError, match=r"images must have shape \(N, 2, 14, 14\)"):
            predict()


@pytest.mark.parametrize("batch", [{"images": 1}, torch.rand(3, 2, 14, 14), (), tuple(range(4))])
def test_what_is_not_a_batch_is_refused(batch: Any) -> None:
    with pytest.raises(ValueError, match=r"a batch must be \(images, target\) or"):
        WeightSharing().test_step(batch, 0)


def test_digits_that_a_model_needs_must_be_there() -> None:
    images, target, _ = parts(1)
    for batch in ((images, target), (images, target, None)):
        with pytest.raises(ValueError, match="classes, the digits of each pair, must be in the batch"):
            AuxiliaryLoss().training_step(batch, 0)  # type: ignore[arg-type]


def test_several_views_are_for_training() -> None:
    images, target, classes = parts(1)
    batch = (torch.cat([images, images]), target, classes)
    module: PairModule = WeightSharing()
    module.training_step(batch, 0)
    with pytest.raises(ValueError, match="images must be 6 pairs"):
        module.validation_step(batch, 0)


@pytest.mark.parametrize(("nets", "pairs"), [(3, 1), (1, 3), (2, 3)])
def test_other_numbers_of_seeds_in_the_data_than_in_the_module_are_refused(nets: int, pairs: int) -> None:
    data = DigitPairs(100, 0, 50, seed=range(pairs))
    with pytest.raises(ValueError, match=rf"{2 * nets}, 14, 14.*{nets} seeds.*{2 * pairs}, 14, 14"):
        trainer().fit(WeightSharing(seed=range(nets)), data)
