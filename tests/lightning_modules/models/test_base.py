"""The three modules as a user meets them, and against a plain loop."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.speed.plain_loop import PlainNet, SiameseNet
from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, PairModule, PlainCNN, WeightSharing
from lightning_modules.models.recipes import PAPER, RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import AuxiliaryLossSettings, PlainCNNSettings
from lightning_modules.replicas.dropout import Dropout

PLAIN = {PlainCNN: PlainNet, WeightSharing: SiameseNet, AuxiliaryLoss: SiameseNet}
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}


class KeepLosses(pl.Callback):
    """Keeps the loss of every training step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())


def plain_loop(module: PairModule, data: DigitPairs, epochs: int) -> list[float]:
    """What a student would write."""
    network: nn.Module = PLAIN[type(module)]().double()
    network.load_state_dict(module.network.state_dict())
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    data.setup()
    loader = data.train_dataloader()
    losses = []
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for images, target, classes in loader:
            pair, digits = network(images.double())
            loss = cross_entropy(pair, target[:, 0])
            if isinstance(module, AuxiliaryLoss):
                loss = 0.5 * loss
                for i in range(2):
                    loss = loss + 0.8 * cross_entropy(digits[:, i], classes[:, 0, i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    "module",
    [PlainCNN(lr=0.05), WeightSharing(lr=0.05), AuxiliaryLoss(lr=0.05, alpha=0.8, gamma=0.5)],
    ids=lambda module: type(module).__name__,
)
def test_lightning_and_a_plain_loop_from_the_same_weights_have_the_same_losses(module: PairModule) -> None:
    data = DigitPairs(train_pairs=100, val_pairs=0, batch_size=20)
    expected = plain_loop(module, data, epochs=3)
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    keep = KeepLosses()
    # In float64: in float32 a rounding that differs grows past 1e-5 within a few steps of raw pixels.
    options: dict[str, Any] = {"precision": "64-true", "enable_checkpointing": False, **QUIET}
    pl.Trainer(max_epochs=3, callbacks=[keep], **options).fit(module, data)
    assert keep.losses == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("module_type", [PlainCNN, WeightSharing, AuxiliaryLoss])
def test_an_ordinary_script_trains_tests_predicts_and_restores(
    module_type: type[PlainCNN], tmp_path: Path
) -> None:
    module, data = module_type(seed=range(1, 3)), DigitPairs(train_pairs=200, test_pairs=75, seed=[1, 2])
    trainer = pl.Trainer(max_epochs=1, default_root_dir=tmp_path, **QUIET)
    trainer.fit(module, data)
    assert "val/error" in trainer.callback_metrics
    (tested,) = trainer.test(module, data, verbose=False)
    predicted = torch.cat(trainer.predict(module, data))  # type: ignore[arg-type]
    assert predicted.shape == (75, 2)
    wrong = (predicted > 0.5) != data.test_set.target
    assert tested["test/error"] == pytest.approx(wrong.float().mean().item())
    assert ("test/digit_error" in tested) == module.has_digit_heads

    path = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    restored = module_type.load_from_checkpoint(path, weights_only=True).eval()
    images = next(iter(data.test_dataloader()))[0]
    assert torch.equal(restored(images).pair, module.eval()(images).pair)
    single = restored.replica(1).eval()
    assert single.hparams["seed"] == [2]
    torch.testing.assert_close(single(images[:, 2:]).pair, restored(images).pair[:, 1:])


def test_the_auxiliary_loss_is_the_papers_weighted_sum() -> None:
    module = AuxiliaryLoss(seed=[0, 1], alpha=[0.2, 0.5], gamma=[1.0, 0.8]).eval()
    images, target = torch.rand(6, 4, 14, 14), torch.randint(2, (6, 2))
    classes = torch.randint(10, (6, 2, 2))
    outputs = module(images)
    losses: Tensor = module.loss(outputs, target, classes)
    for r, (alpha, gamma) in enumerate(((0.2, 1.0), (0.5, 0.8))):
        expected = gamma * cross_entropy(outputs.pair[:, r], target[:, r])
        for i in range(2):
            expected = expected + alpha * cross_entropy(outputs.digits[:, r, i], classes[:, r, i])
        torch.testing.assert_close(losses[:, r].mean(), expected)


def test_weight_sharing_and_the_plain_net_never_see_digit_labels() -> None:
    images, target = torch.rand(6, 2, 14, 14), torch.randint(2, (6, 1))
    for module in (PlainCNN().eval(), WeightSharing().eval()):
        outputs = module(images)
        nonsense = torch.full((6, 1, 2), -999)
        assert torch.isfinite(module.loss(outputs, target, nonsense)).all()


@pytest.mark.parametrize(
    ("module_type", "arguments", "message"),
    [
        (PlainCNN, {"lr": 0.0}, "lr must be above 0 and finite, got 0.0"),
        (PlainCNN, {"lr": float("nan")}, "lr must be above 0 and finite, got nan"),
        (WeightSharing, {"lr": float("inf")}, "lr must be above 0 and finite, got inf"),
        (WeightSharing, {"seed": [1, 2], "lr": [0.1]}, "lr must be one number or one for each of 2 seeds"),
        (AuxiliaryLoss, {"alpha": -1.0}, "alpha must be at least 0 and finite, got -1.0"),
        (AuxiliaryLoss, {"gamma": -1.0}, "gamma must be at least 0 and finite, got -1.0"),
    ],
)
def test_settings_out_of_range_are_named(module_type: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module_type(**arguments)


def test_modules_made_without_settings_have_the_papers() -> None:
    for model, module_type in MODULES.items():
        module, paper = module_type(seed=3), module_type.from_settings(PAPER.settings[model], 3)
        assert module.hparams == paper.hparams
        assert str(module.network) == str(paper.network)
    assert RECIPES["paper"] is PAPER


def test_an_override_reaches_the_models_that_have_the_setting_and_no_other() -> None:
    settings = resolve(PAPER, ["cnn", "auxiliary"], {"lr": None, "alpha": 0.5})
    assert settings == {
        "cnn": PlainCNNSettings(lr=0.05),
        "auxiliary": AuxiliaryLossSettings(lr=0.1, alpha=0.5),
    }
    with pytest.raises(ValueError, match="gamma has no effect on cnn"):
        resolve(PAPER, ["cnn"], {"gamma": 0.5})
