"""Pictures for the docs.

Command line:
    python -m benchmarks.pictures
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from datamodules import DigitPairs
from datamodules.augment import Augmentation
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file, make_folder
from lightning_modules.results.figures import pairs_figure, write_figure

DOCS = Path(__file__).parents[2] / "docs"


def pictures(seed: int = 0, folder: str = str(DOCS), verbose: bool = False) -> None:
    """Draw training pairs with their answers, and training digits as the modern recipes warp them.

    Args:
        seed: Seed of the pairs and of the warps.
        folder: Where to put pairs.png and augmented.png.
        verbose: Whether to show tracebacks.
    """
    path = Path(folder)
    pairs, warped = path / "pairs.png", path / "augmented.png"
    for file in (pairs, warped):
        check_file(file, flag="folder")
    data = DigitPairs(train_pairs=12, batch_size=12, seed=seed)
    data.setup()
    ((images, target, classes),) = data.train_dataloader()
    captions = [
        f"{first} {'≤' if answer else '>'} {second}"
        for (first, second), answer in zip(classes[:, 0].tolist(), target[:, 0].tolist(), strict=True)
    ]
    make_folder(path, anew=False, flag="folder")
    write_figure(pairs, pairs_figure(list(images.numpy()), captions), dpi=110)
    write_figure(warped, warped_figure(data.train_digits.images[:50], seed), dpi=110)


def warped_figure(digits: torch.Tensor, seed: int) -> Figure:
    """A contact sheet: each of 10 k digits (10 k, 14, 14), then two warps of it."""
    pairs = digits.view(-1, 2, 14, 14)
    views = Augmentation()(pairs, [seed], step=0, views=2).view(2, *digits.shape)
    triples = torch.cat([digits.unsqueeze(0), views])  # (3, n, 14, 14)
    cells = torch.nn.functional.pad(triples, (1, 1, 1, 1), value=90.0)  # a frame for each
    rows = cells.unflatten(1, (-1, 10)).permute(1, 3, 2, 0, 4)  # (n / 10, 16, 10, 3, 16)
    figure = Figure(figsize=(10, 0.34 * len(rows) + 0.4), layout="constrained")
    axis = figure.subplots()
    axis.imshow(rows.flatten(2).flatten(0, 1), cmap="gray", vmin=0, vmax=255)
    axis.set_title(f"{len(digits)} training digits, each followed by two warps of it", fontsize=9)
    axis.axis("off")
    return figure


if __name__ == "__main__":
    cli.run(pictures, "python -m benchmarks.pictures")
