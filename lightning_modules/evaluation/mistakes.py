"""Test errors counted by digit pair, and the most confident mistakes.

<run folder>/mistakes.npz holds the arrays of `Mistakes` by their names.
"""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_modules.command.atomic_io import atomic_write
from lightning_modules.evaluation.ensembling import EnsembleTest
from lightning_modules.models.batches import Batch, as_batch
from lightning_modules.replicas.pruning import sound_replicas

DIGITS = 10
MAX_WORST = 24  # of the worst mistakes


@dataclass(frozen=True)
class Mistakes:
    """Mistakes of R runs, as plain arrays, because they travel between processes and into a file.

    The last four arrays hold the M worst mistakes of all runs, the most confident first.
    """

    pairs: NDArray[np.int64]  # (R, 10, 10), test pairs by first and second digit
    wrong: NDArray[np.int64]  # (R, 10, 10), those of them that were compared wrongly
    run: NDArray[np.int64]  # (M,), the run's number
    digits: NDArray[np.uint8]  # (M, 2)
    log_odds: NDArray[np.float32]  # (M,), of "first <= second", by the net
    images: NDArray[np.uint8]  # (M, 2, 14, 14)

    def write(self, path: Path) -> None:
        """Write a file whole or not at all.

        Args:
            path: The file.

        Raises:
            OSError: It cannot be written.
        """
        content = io.BytesIO()
        np.savez_compressed(content, **asdict(self))
        atomic_write(path, content.getvalue())


def join_pairs(parts: Sequence[Mistakes]) -> Mistakes:
    """Join the mistakes of the same runs in different pairs.

    Args:
        parts: Mistakes of the same R runs.
    """
    return _join(
        parts, sum(part.pairs for part in parts), sum(part.wrong for part in parts), [0] * len(parts)
    )


def join_runs(parts: Sequence[Mistakes]) -> Mistakes:
    """Join the mistakes of different runs.

    Args:
        parts: Mistakes, in the order of the runs.
    """
    pairs, wrong = (np.concatenate([getattr(part, name) for part in parts]) for name in ("pairs", "wrong"))
    firsts = np.cumsum([0, *(len(part.pairs) for part in parts)])
    return _join(parts, pairs, wrong, firsts.tolist())


def _join(parts: Sequence[Mistakes], pairs: Any, wrong: Any, firsts: Sequence[int]) -> Mistakes:
    run = np.concatenate([part.run + first for part, first in zip(parts, firsts, strict=False)])
    digits, log_odds, images = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("digits", "log_odds", "images")
    )
    worst = np.argsort(-np.abs(log_odds), kind="stable")[:MAX_WORST]
    return Mistakes(pairs, wrong, run[worst], digits[worst], log_odds[worst], images[worst])


class CountMistakes(pl.Callback):
    """Counts the mistakes of the latest test, of all processes and runs."""

    mistakes: Mistakes | None = None
    sound: Tensor  # (R,), whether a run did not diverge

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start anew, and see which runs diverged."""
        self.mistakes = None
        if isinstance(pl_module, EnsembleTest):
            self.sound = torch.tensor(sound_replicas(pl_module.module))[pl_module.selected.cpu()].all(1)
        else:
            self.sound = torch.tensor(sound_replicas(pl_module))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,  # type: ignore[override]  # what a test_step here returns
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count in a batch; ``outputs`` are its logits (N, R, 2)."""
        if isinstance(pl_module, EnsembleTest):  # pairs are the same for all members of a run
            batch = pl_module.pairs_of_runs(batch)
        found = find_mistakes(outputs, *batch, self.sound)
        self.mistakes = join_pairs([self.mistakes, found]) if self.mistakes else found

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Join the counts of several processes."""
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self.mistakes)
            self.mistakes = join_pairs([part for part in parts if part])


def find_mistakes(
    logits: Tensor,
    images: Tensor,
    target: Tensor,
    classes: Tensor | None = None,
    sound: Tensor | None = None,
) -> Mistakes:
    """The mistakes in N pairs of each of R runs.

    Args:
        logits: (N, R, 2).
        images: (N, 2R, 14, 14) in 0..255.
        target: (N, R), 1 where first <= second.
        classes: (N, R, 2), the digits.
        sound: (R,), whose mistakes may be among the worst; by default all. A diverged net may be confident of
            anything, and would crowd out the others.

    Raises:
        ValueError: A tensor has another shape or type, or there are no classes.
    """
    runs = logits.shape[1]
    images, target, classes = as_batch((images, target, classes), runs, labelled=True)
    assert classes is not None
    if len(logits) != len(target):
        raise ValueError(f"logits must be of {len(target)} pairs, as many as the target's, got {len(logits)}")
    wrong = logits.argmax(-1) != target  # (N, R)
    cells = classes.long() @ classes.new_tensor([DIGITS, 1]).long()  # (N, R), 10 first + second
    cells += DIGITS**2 * torch.arange(runs, device=cells.device)
    counts = [
        torch.bincount(some.flatten(), minlength=runs * DIGITS**2).view(runs, DIGITS, DIGITS).cpu().numpy()
        for some in (cells, cells[wrong])
    ]
    odds = logits.float().diff(dim=-1).squeeze(-1)
    odds = odds.nan_to_num(0.0, 0.0, 0.0)  # a diverged net counts as not confident
    shown = wrong if sound is None else wrong & sound.to(wrong.device)
    surest = odds.abs().masked_fill(~shown, -1).flatten().topk(min(MAX_WORST, int(shown.sum()))).indices
    pair, run = surest // runs, surest % runs
    return Mistakes(
        counts[0],
        counts[1],
        run.cpu().numpy(),
        classes[pair, run].to(torch.uint8).cpu().numpy(),
        odds[pair, run].cpu().numpy(),
        images.unflatten(1, (runs, 2))[pair, run].float().round().to(torch.uint8).cpu().numpy(),
    )
