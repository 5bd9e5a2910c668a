"""Sixteen trainings of a small CNN at once: what is its error, and how far does the seed move it?

Command lines:
    python docs/examples/seeds.py                         on the embedded digits
    python docs/examples/seeds.py --data_dir FOLDER       on Fashion-MNIST: a folder with its four IDX files
    tensorboard --logdir runs                             mean and band
"""

import pytorch_lightning as pl
from jsonargparse import auto_cli
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules import load_digits
from lightning_modules import ReplicatedModule


def make_net() -> nn.Module:
    """An ordinary net, for images (N, 1, 14, 14)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(16), nn.Dropout(0.2)),
        *(nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)),
    )


def error(outputs: Tensor, target: Tensor) -> Tensor:
    """Whether an answer is wrong, (N,); the mean over samples is logged."""
    return outputs.argmax(-1) != target


def main(data_dir: str | None = None, runs: int = 16, epochs: int = 5, samples: int = 5000) -> list[float]:
    """Train all, and print the error of each seed on the test images, as a share."""
    train, test = (
        TensorDataset(split.images[:samples].unsqueeze(1) / 255, split.labels[:samples])
        for split in load_digits(data_dir)
    )
    module = ReplicatedModule(make_net, F.cross_entropy, range(runs), lr=0.003, metrics={"error": error})
    trainer = pl.Trainer(max_epochs=epochs, logger=TensorBoardLogger("runs", "seeds"), accelerator="cpu")
    trainer.fit(module, DataLoader(train, 64, shuffle=True), DataLoader(test, 500))
    errors = module.epoch_metrics("val")["val/error"]  # (R,)
    print(f"test error {100 * errors.mean():.1f} ± {100 * errors.std():.1f} % over {runs} seeds")
    for seed, value in zip(module.seeds, errors.tolist(), strict=True):
        print(f"seed {seed}: {100 * value:.1f} %")
    best = module.replica(int(errors.argmin()))  # an ordinary nn.Module
    print(f"the best one has {sum(p.numel() for p in best.parameters())} parameters")
    return errors.tolist()


if __name__ == "__main__":
    auto_cli(main)
