"""Regression on a table: each seed has its own order of rows and stops by itself; their mean predicts.

The table is made: Friedman's function of ten columns, of which five matter, with noise of deviation 1
(Friedman 1991, Multivariate adaptive regression splines, section 4.3).

Command line: python docs/examples/tabular.py
"""

import math

import pytorch_lightning as pl
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules import ReplicaLoader, ReplicatedModule, StopReplicas


def friedman(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """A table (rows, 10), and the numbers (rows, 1) to learn."""
    draws = torch.Generator().manual_seed(seed)
    x, noise = torch.rand(rows, 10, generator=draws), torch.randn(rows, generator=draws)
    a, b, c, d, e = x[:, :5].unbind(1)
    y = 10 * (math.pi * a * b).sin() + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e + noise
    return x, y.unsqueeze(1)


def make_net() -> nn.Module:
    """An ordinary net, from (N, 10) to (N, 1)."""
    return nn.Sequential(
        *(nn.Linear(10, 64), nn.LayerNorm(64), nn.SiLU(), nn.Dropout(0.1)),
        *(nn.Linear(64, 64), nn.LayerNorm(64), nn.SiLU(), nn.Linear(64, 1)),
    )


def main(runs: int = 8, epochs: int = 60, rows: int = 1000) -> tuple[float, float]:
    """Train all, and print the mean squared error of one net, and of the mean of all nets."""
    train, val, test = friedman(rows, 0), friedman(rows, 1), friedman(rows, 2)
    module = ReplicatedModule(make_net, F.mse_loss, range(runs), lr=0.01)
    stop = StopReplicas("val/loss", patience=10)
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[stop], logger=False, accelerator="cpu")
    trainer.fit(module, ReplicaLoader(train, 50, module.seeds), DataLoader(TensorDataset(*val), 500))
    print(f"stopped before the end: {sorted(stop.stopped)}")
    nets = [*stop.stopped.values(), *(module.replica(k) for k in range(len(module.seeds)))]
    with torch.no_grad():
        answers = torch.stack([net.eval()(test[0]) for net in nets])  # (R, rows, 1)
    single = (answers - test[1]).square().mean().item()
    ensemble = (answers.mean(0) - test[1]).square().mean().item()
    print(f"mean squared error: one net {single:.2f}, mean of {runs} nets {ensemble:.2f}, noise 1.00")
    return single, ensemble


if __name__ == "__main__":
    auto_cli(main)
