"""Is one of two nets better, or was it luck? A paired test over many seeds.

Replica k of both nets has the same seed, so that it sees the same images in the same order.

Command line: python docs/examples/architectures.py
"""

import pytorch_lightning as pl
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules import load_digits
from lightning_modules import ReplicaLoader, ReplicatedModule
from lightning_modules.evaluation.significance import TTest, paired_test, verdicts


def with_max_pooling() -> nn.Module:
    """A small CNN, for images (N, 1, 14, 14)."""
    return small_cnn(nn.MaxPool2d(2))


def with_mean_pooling() -> nn.Module:
    """The same, but for its pooling."""
    return small_cnn(nn.AvgPool2d(2))


def small_cnn(pool: nn.Module) -> nn.Module:
    """A CNN with a pooling layer."""
    return nn.Sequential(nn.Conv2d(1, 16, 3), pool, nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))


def error(outputs: Tensor, target: Tensor) -> Tensor:
    """Whether an answer is wrong, (N,)."""
    return outputs.argmax(-1) != target


def main(runs: int = 20, epochs: int = 5, samples: int = 1000) -> TTest:
    """Train both, and print the difference of their test errors, its 95 % interval, and p."""
    train, test = load_digits()
    images, labels = train.images[:samples].unsqueeze(1) / 255, train.labels[:samples]
    test_set = TensorDataset(test.images.unsqueeze(1) / 255, test.labels)
    errors = []
    for make_net in (with_max_pooling, with_mean_pooling):
        module = ReplicatedModule(make_net, F.cross_entropy, range(runs), 0.003, metrics={"error": error})
        trainer = pl.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.fit(module, ReplicaLoader((images, labels), 50, range(runs)))
        trainer.test(module, DataLoader(test_set, 1000), verbose=False)
        errors.append(100 * module.epoch_metrics("test")["test/error"].double())
        print(f"{make_net.__name__}: {errors[-1].mean():.2f} ± {errors[-1].std():.2f} %")
    compared = paired_test(*(own.tolist() for own in errors))
    verdict = verdicts([compared])[0]
    print(f"difference {compared.mean:+.2f} ± {compared.half_width:.2f}, p = {compared.p:.2g}: {verdict}")
    return compared


if __name__ == "__main__":
    auto_cli(main)
