"""Pictures for the docs.

Command line:
    python -m benchmarks.pictures
"""

from pathlib import Path

from datamodules import DigitPairs
from lightning_modules import cli
from lightning_modules.figures import pairs_figure

DOCS = Path(__file__).parents[1] / "docs"


def pictures(seed: int = 0, folder: str = str(DOCS), verbose: bool = False) -> None:
    """Draw training pairs with their answers.

    Args:
        seed: Seed of the pairs.
        folder: Where to put pairs.png.
        verbose: Whether to show tracebacks.
    """
    data = DigitPairs(train_pairs=12, batch_size=12, seed=seed)
    data.setup()
    ((images, target, classes),) = data.train_dataloader()
    captions = [
        f"{first} {'≤' if answer else '>'} {second}"
        for (first, second), answer in zip(classes[:, 0].tolist(), target[:, 0].tolist(), strict=True)
    ]
    pairs_figure(list(images.numpy()), captions).savefig(Path(folder) / "pairs.png", dpi=110)


if __name__ == "__main__":
    cli.run(pictures, "python -m benchmarks.pictures")
