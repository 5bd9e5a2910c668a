"""TensorBoard's projector: how a net sorts test digits into its classes while it is trained.

Each embedding is a table of posteriors after some epochs: a line a digit, ten probabilities a line.
<run folder>/projector_config.pbtxt lists them; projector/ holds the tables and the digits' labels and images.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from lightning_modules.command.atomic_io import atomic_write
from lightning_modules.evaluation.probing import class_logits
from lightning_modules.models.base import PairModule
from lightning_modules.results.provenance import DigitData, Digits

SHOWN = 1000  # test digits in the projector
SIDE = 32  # of the square of their images, which has room for 1024
EMBEDDING = """embeddings {{
  tensor_name: "posteriors, epoch {epoch:03}"
  tensor_path: "projector/{epoch}.tsv"
  metadata_path: "projector/labels.tsv"
  sprite {{ image_path: "projector/digits.png" single_image_dim: 14 single_image_dim: 14 }}
}}
"""


def is_noted(epoch: int) -> bool:
    """Whether posteriors are noted after so many epochs: 0, 1, 2, 5, 10, 20, 50, ...

    A net learns most in its first epochs. Each look at 1000 digits costs as much time as half an epoch of one
    run, so that not every epoch has one.
    """
    return str(epoch).rstrip("0") in ("", "1", "2", "5")


def first_posteriors(module: PairModule, data: DigitData) -> str:
    """The probabilities of the ten classes of the first test digits, in the first replica.

    Returns:
        A line a digit with tabs between the numbers; nothing where the net has no classes, or diverged.
    """
    head = module.network.net.head
    if head is None or not head.reads_classes:
        return ""
    shares = class_logits(module, 0, data.test_digits.images[:SHOWN]).float().softmax(-1)
    if not shares.isfinite().all():
        return ""
    return "".join("\t".join(f"{share:.4f}" for share in digit) + "\n" for digit in shares.tolist())


def write_projector(folder: Path, posteriors: Mapping[int, str], digits: Digits) -> None:
    """Write an embedding for each epoch, all with the same labels and images.

    All are written at the end: a dashboard that is open reads the list once, and would miss the later ones.

    Args:
        folder: Of the run.
        posteriors: Number of epochs to `first_posteriors` after them; an empty one is left out.
        digits: The test digits.

    Raises:
        OSError: A file cannot be written.
    """
    tables = {epoch: table for epoch, table in posteriors.items() if table}
    if not tables:
        return
    (folder / "projector").mkdir(exist_ok=True)
    shown = digits.images[:SHOWN].round()
    images = np.zeros((SIDE * SIDE, 14, 14), np.uint8)
    images[: len(shown)] = shown.numpy()
    square = images.reshape(SIDE, SIDE, 14, 14).swapaxes(1, 2).reshape(SIDE * 14, SIDE * 14)
    picture = io.BytesIO()
    Image.fromarray(square).save(picture, "PNG")
    atomic_write(folder / "projector" / "digits.png", picture.getvalue())
    labels = "".join(f"{label}\n" for label in digits.labels[:SHOWN].tolist())
    atomic_write(folder / "projector" / "labels.tsv", labels)
    for epoch, table in tables.items():
        atomic_write(folder / "projector" / f"{epoch}.tsv", table)
    config = "".join(EMBEDDING.format(epoch=epoch) for epoch in tables)
    atomic_write(folder / "projector_config.pbtxt", config)
