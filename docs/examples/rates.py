"""A grid search in one program: each replica has its own learning rate and weight decay.

Command line: python docs/examples/rates.py
"""

from itertools import product

import pytorch_lightning as pl
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules import load_digits
from lightning_modules import ReplicaLoader, ReplicatedModule

RATES = [0.0001, 0.001, 0.01, 0.1]
DECAYS = [0.0, 0.1]


def make_net() -> nn.Module:
    """An ordinary net, for images (N, 14, 14)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 100), nn.ReLU(), nn.Dropout(0.2), nn.Linear(100, 10))


def error(outputs: Tensor, target: Tensor) -> Tensor:
    """Whether an answer is wrong, (N,)."""
    return outputs.argmax(-1) != target


def main(runs: int = 4, epochs: int = 5, samples: int = 2000) -> dict[tuple[float, float], float]:
    """Train all points of the grid, each with some seeds, and print the validation error of each point."""
    digits, _ = load_digits()
    images, labels = digits.images / 255, digits.labels
    train = (images[:samples], labels[:samples])
    val = (images[-samples:], labels[-samples:])
    grid = list(product(RATES, DECAYS, range(runs)))  # a replica each
    rates, decays, seeds = (list(column) for column in zip(*grid, strict=True))
    module = ReplicatedModule(
        *(make_net, F.cross_entropy, seeds, rates), weight_decay=decays, metrics={"error": error}
    )
    trainer = pl.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(module, ReplicaLoader(train, 50, seeds), ReplicaLoader(val, 500, seeds, shuffle=False))
    errors = module.epoch_metrics("val")["val/error"].unflatten(0, (-1, runs))  # (points, runs)
    found = {}
    for (rate, decay), own in zip(product(RATES, DECAYS), errors, strict=True):
        found[rate, decay] = own.mean().item()
        print(f"lr {rate:g}, weight decay {decay:g}: {100 * own.mean():.1f} ± {100 * own.std():.1f} %")
    print("best:", min(found, key=found.__getitem__))
    return found


if __name__ == "__main__":
    auto_cli(main)
