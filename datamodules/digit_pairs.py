"""The LightningDataModule of digit pairs, for any number of replicas."""

import math
from collections.abc import Sequence
from typing import Literal

import pytorch_lightning as pl
import torch

from datamodules.augment import SIDE, Augmentation, Interpolation
from datamodules.loader import Batch, PairLoader
from datamodules.mnist import load_digits
from datamodules.pairs import PairSet, draw_splits

MOST_PAIRS = 100_000_000  # of all replicas together: gigabytes


class DigitPairs(pl.LightningDataModule):
    """Which of two digits is larger? Each replica has pairs of its own, drawn by its seed.

    Batches are ``(images, target, classes)`` with R replicas along the second dimension: images
    (B, 2R, 14, 14) float32 in 0..255, target (B, R) int64, 1 where the first digit is at most the second,
    classes (B, R, 2) int64. R = 1 gives the course's shapes but for target's and classes' second dimension.
    In training, and only there, digits may be warped at random, late in it twice: images are then
    (2 * B, 2R, 14, 14), one view of all pairs after the other.
    """

    def __init__(
        self,
        train_pairs: int = 1000,
        val_pairs: int = 500,
        test_pairs: int = 1000,
        batch_size: int = 50,
        seed: int | Sequence[int] = 0,
        data_dir: str | None = None,
        augment: Literal["none"] | Interpolation = "none",
        elastic: float = 0.4,
        two_views_from: float = 1.0,
        stream_seed: Sequence[int] | None = None,
    ) -> None:
        """Check the arguments; nothing is read before `setup`.

        Args:
            train_pairs: Training pairs of a replica.
            val_pairs: Validation pairs, of train digits that the training pairs do not use; may be 0.
            test_pairs: Test pairs, of test digits.
            batch_size: Pairs of a replica in a step of one process.
            seed: One seed a replica (a single number: one replica).
            data_dir: Folder of IDX files (see `load_digits`); the embedded MNIST by default.
            augment: Interpolation of randomly warped training digits, or no warps.
            elastic: Deviation of the warps' elastic part, in pixels.
            two_views_from: Share of the epochs after which a pair comes in two views; 1 is never.
            stream_seed: One seed a replica for order and warps, where not the one of its pairs.

        Raises:
            ValueError: An argument is out of range.
        """
        super().__init__()
        self.seeds = [seed] if isinstance(seed, int) else list(seed)
        for name, value, least, most in (
            ("train_pairs", train_pairs, 2, MOST_PAIRS),
            ("val_pairs", val_pairs, 0, MOST_PAIRS),
            ("test_pairs", test_pairs, 1, MOST_PAIRS),
            ("batch_size", batch_size, 2, MOST_PAIRS),
            ("the number of seeds", len(self.seeds), 1, math.inf),
            ("seed", min(self.seeds, default=0), 0, math.inf),
            ("elastic", elastic, 0, SIDE),
            ("two_views_from", two_views_from, 0, 1),
        ):
            if not value >= least:  # so also NaN
                raise ValueError(f"{name} must be at least {least}, got {value}")
            if value > most:
                raise ValueError(f"{name} must be at most {most}, got {value}")
        if (pairs := len(self.seeds) * (train_pairs + val_pairs + test_pairs)) > MOST_PAIRS:
            raise ValueError(
                f"train_pairs, val_pairs and test_pairs of all {len(self.seeds)} runs must be at most"
                f" {MOST_PAIRS}, got {pairs}; take fewer pairs or runs"
            )
        if max(self.seeds) >= 2**32:
            raise ValueError(
                f"seed must be below 2**32, all that torch's generators see, got {max(self.seeds)}"
            )
        if augment not in ("none", "bilinear", "bicubic"):
            raise ValueError(f"augment must be none, bilinear or bicubic, got {augment}")
        if two_views_from < 1 and augment == "none":
            raise ValueError("two_views_from below 1 needs warps, but augment is none")
        self.stream_seeds = self.seeds if stream_seed is None else list(stream_seed)
        self.augmentation = None if augment == "none" else Augmentation(augment, elastic)
        self.two_views_from = two_views_from
        seed = self.seeds  # for hparams, as plain numbers
        # Not into the logger: its seeds may lawfully differ from the module's, which Lightning refuses.
        self.save_hyperparameters(logger=False)
        self.batch_size, self.data_dir = batch_size, data_dir
        self.counts = (train_pairs, val_pairs, test_pairs)

    def setup(self, stage: str | None = None) -> None:
        """Load the digits and draw the pairs, once, to where the trainer computes.

        Args:
            stage: Lightning's name of what comes; the same is done for all.

        Raises:
            OSError: A data file is missing or unreadable.
            ValueError: A data file breaks a rule.
        """
        if hasattr(self, "train_set"):
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        self.train_digits, self.test_digits = (digits.to(device) for digits in load_digits(self.data_dir))
        sizes = (len(self.train_digits), len(self.test_digits))
        splits = [draw_splits(self.counts, sizes, seed) for seed in self.seeds]
        self.train_set = PairSet.of([split.train for split in splits], self.train_digits)
        self.val_set = PairSet.of([split.val for split in splits], self.train_digits)
        self.test_set = PairSet.of([split.test for split in splits], self.test_digits)

    def train_dataloader(self) -> PairLoader:
        """Training pairs, in an order of their own for each replica and epoch.

        Raises:
            ValueError: The last batch would leave a process a single pair, which BatchNorm cannot train on.
        """
        loader = self._loader("train", self.stream_seeds)
        if min(loader.sizes) < 2:
            raise ValueError(
                f"train_pairs = {len(self.train_set)} in steps of batch_size = {self.batch_size} leave a last"
                " batch of less than 2 pairs a process; BatchNorm needs 2: change one of the two"
            )
        return loader

    def train_test_dataloader(self) -> PairLoader:
        """Training pairs in fixed order, to be tested on."""
        return self._loader("train")

    def val_dataloader(self) -> PairLoader | list[PairLoader]:
        """Validation pairs in fixed order; nothing where there are none."""
        return self._loader("val") if len(self.val_set) else []

    def test_dataloader(self) -> PairLoader:
        """Test pairs in fixed order."""
        return self._loader("test")

    def predict_dataloader(self) -> PairLoader:
        """Test pairs, to be shown with their predictions."""
        return self._loader("test")

    def all_test_dataloader(self) -> PairLoader:
        """A pairing of all test digits, the same for all replicas; an odd one is left out."""
        count = len(self.test_digits) // 2
        pairs = torch.arange(2 * count).view(count, 2)
        pair_set = PairSet.of([pairs] * len(self.seeds), self.test_digits)
        return PairLoader(self.test_digits, pair_set, self.batch_size)

    def keep(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some; loaders that are already made have a `keep` of their own.

        Args:
            kept: Which ones stay.
        """
        self.seeds = [self.seeds[r] for r in kept]
        self.stream_seeds = [self.stream_seeds[r] for r in kept]
        own = {name: value for name, value in self.hparams.items() if isinstance(value, list | tuple)}
        self.hparams.update({name: [value[r] for r in kept] for name, value in own.items()})
        for split in ("train_set", "val_set", "test_set"):
            setattr(self, split, getattr(self, split).keep(kept))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Warp the digits of training pairs, where they are trained on."""
        trainer = self.trainer
        if self.augmentation is None or trainer is None or not trainer.training:
            return batch
        images, target, classes = batch
        late = trainer.current_epoch >= self.two_views_from * (trainer.max_epochs or 0)
        step, rank = trainer.global_step, trainer.global_rank
        return self.augmentation(images, self.stream_seeds, step, rank, 1 + late), target, classes

    def _loader(self, split: str, shuffle_seeds: list[int] | None = None) -> PairLoader:
        digits = self.test_digits if split == "test" else self.train_digits
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return PairLoader(
            digits, getattr(self, f"{split}_set"), self.batch_size, shuffle_seeds, rank, world_size
        )
