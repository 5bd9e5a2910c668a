"""The paper's networks once more, in plain torch.nn for one run: what ours must equal."""

import torch
from torch import Tensor, nn


def cnn(in_channels: int, outputs: int) -> nn.Sequential:
    """Figure 1.2."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 32, kernel_size=3),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.ReLU(),
        nn.BatchNorm2d(32),
        nn.Dropout(0.2),
        nn.Conv2d(32, 64, kernel_size=3),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(256, 200),
        nn.ReLU(),
        nn.BatchNorm1d(200),
        nn.Dropout(0.3),
        nn.Linear(200, outputs),
        nn.ReLU(),
        nn.BatchNorm1d(outputs),
        nn.Dropout(0.3),
    )


class PlainNet(nn.Module):
    """Section 1.2.1."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = cnn(2, 2)

    def forward(self, pairs: Tensor) -> tuple[Tensor, None]:
        return self.cnn(pairs), None


class SiameseNet(nn.Module):
    """Sections 1.2.2 and 1.2.3, figure 1.4."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = cnn(1, 10)
        self.head = nn.Sequential(
            nn.Linear(20, 100),
            nn.ReLU(),
            nn.BatchNorm1d(100),
            nn.Dropout(0.2),
            nn.Linear(100, 20),
            nn.ReLU(),
            nn.BatchNorm1d(20),
            nn.Dropout(0.2),
            nn.Linear(20, 2),
            nn.ReLU(),
        )

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.trunk(pairs[:, 0:1]), self.trunk(pairs[:, 1:2])
        return self.head(torch.cat((first, second), 1)), torch.stack((first, second), 1)
