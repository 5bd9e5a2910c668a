"""The LightningDataModule of digit pairs, for any number of replicas."""

import math
import os
from collections.abc import Sequence
from typing import Literal, cast

import pytorch_lightning as pl
import torch

from datamodules.arguments import Seeds, number, refuse_repeated, seeds_of, whole
from datamodules.augment import SIDE, Augmentation, Interpolation
from datamodules.loader import PairLoader
from datamodules.mnist import load_digits
from datamodules.pairs import PairSet, draw_splits

ELASTIC = 0.4  # pixels
MOST_PAIRS = 100_000_000  # of all replicas together: gigabytes
AT_ONCE = 100  # pairs to validate or test on, at least: fewer cost more for Python, more leave the cache


class DigitPairs(pl.LightningDataModule):
    """Which of two digits is larger? Each replica has pairs of its own, drawn by its seed.

    Batches are ``(images, target, classes)`` with R replicas along the second dimension: images
    (B, 2R, 14, 14) float32 in 0..255, target (B, R) int64, 1 where the first digit is at most the second,
    classes (B, R, 2) int64. R = 1 gives the course's shapes but for target's and classes' second dimension.
    Training pairs, and only they, may be warped at random, late in training twice: images are then
    (2 * B, 2R, 14, 14), one view of all pairs after the other.
    """

    def __init__(
        self,
        train_pairs: int = 1000,
        val_pairs: int = 500,
        test_pairs: int = 1000,
        batch_size: int = 50,
        seed: Seeds = 0,
        data_dir: str | os.PathLike[str] | None = None,
        augment: Literal["none"] | Interpolation = "none",
        elastic: float = ELASTIC,
        two_views_from: float = 1.0,
        stream_seed: Seeds | None = None,
    ) -> None:
        """Check the arguments; nothing is read before `setup`.

        Args:
            train_pairs: Training pairs of a replica.
            val_pairs: Validation pairs, of train digits that the training pairs do not use; may be 0.
            test_pairs: Test pairs, of test digits.
            batch_size: Pairs of a replica in a step of one process. Pairs to validate and to test on come
                100 at once, or as many as this where it is more.
            seed: R seeds (a single number: one replica), as many as the module's. The default is always 0:
                `seed_everything` has no say, so two data modules made without a seed have the same pairs.
            data_dir: Folder of IDX files (see `load_digits`); the embedded MNIST by default.
            augment: Interpolation of randomly warped training digits, or no warps.
            elastic: Deviation of the warps' elastic part, in pixels.
            two_views_from: Share of training after which a pair comes in two views, from the next epoch on;
                1 is never.
            stream_seed: R seeds for order and warps, where not those of the pairs; with them replicas may
                share pairs, and `seed` name one several times.

        Raises:
            ValueError: An argument is out of range, of another type, or has no effect.
        """
        super().__init__()
        # As hyperparameters are kept: plain.
        seed = self.seeds = seeds_of("seed", seed)
        train_pairs = whole("train_pairs", train_pairs, 2, MOST_PAIRS)
        val_pairs = whole("val_pairs", val_pairs, 0, MOST_PAIRS)
        test_pairs = whole("test_pairs", test_pairs, 1, MOST_PAIRS)
        batch_size = whole("batch_size", batch_size, 2, MOST_PAIRS)
        elastic = number("elastic", elastic, 0, SIDE)
        two_views_from = number("two_views_from", two_views_from, 0, 1)
        if not isinstance(data_dir, str | os.PathLike | None):
            raise ValueError(f"data_dir must be a folder's path, got {data_dir!r}")
        data_dir = None if data_dir is None else os.fspath(data_dir)
        self.counts = (train_pairs, val_pairs, test_pairs)
        if (pairs := len(seed) * sum(self.counts)) > MOST_PAIRS:
            raise ValueError(
                f"train_pairs, val_pairs and test_pairs of all {len(seed)} runs must be at most"
                f" {MOST_PAIRS}, got {pairs}; take fewer pairs or runs"
            )
        self.augmentation = _warps(augment, elastic, two_views_from)
        if stream_seed is None:
            refuse_repeated(seed)
            self.stream_seeds = self.seeds
        else:
            stream_seed = self.stream_seeds = seeds_of("stream_seed", stream_seed)
            if len(stream_seed) != len(seed):
                raise ValueError(
                    f"stream_seed must be one for each of {len(seed)} seeds, got {len(stream_seed)}"
                )
        augment = cast("Interpolation", str(augment))
        self.two_views_from = two_views_from
        # Not into the logger: its seeds may lawfully differ from the module's, which Lightning refuses.
        self.save_hyperparameters(logger=False)
        self.batch_size, self.data_dir = batch_size, data_dir

    def setup(self, stage: str | None = None) -> None:
        """Load the digits and draw the pairs, once, to where the trainer computes.

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
        """Training pairs, in an order of their own for each replica and epoch, and warped where asked.

        Where the Trainer overfits a few batches, these are the same in all epochs, but for their warps.

        Raises:
            ValueError: The last batch would leave a process a single pair, which BatchNorm cannot train on.
        """
        loader = self._loader("train", self.stream_seeds, self.augmentation)
        loader.fixed_order = bool(self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]
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
        return PairLoader(self.test_digits, pair_set, max(self.batch_size, AT_ONCE))

    def select(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some; loaders that are already made have a `select` of their own."""
        self.seeds = [self.seeds[r] for r in kept]
        self.stream_seeds = [self.stream_seeds[r] for r in kept]
        own = {name: value for name, value in self.hparams.items() if isinstance(value, list | tuple)}
        self.hparams.update({name: [value[r] for r in kept] for name, value in own.items()})
        for split in ("train_set", "val_set", "test_set"):
            setattr(self, split, getattr(self, split).select(kept))

    def _views(self, epoch: int) -> int:
        """How often each pair of an epoch is warped."""
        if self.two_views_from in (0, 1):
            return 2 if self.two_views_from == 0 else 1
        trainer = self.trainer
        if trainer is None or not trainer.training:
            raise ValueError(
                "two_views_from is a share of a training that is not known here: give the Trainer the data"
                " module, not its loader"
            )
        steps = trainer.estimated_stepping_batches
        if steps == math.inf:
            raise ValueError(
                "two_views_from is a share of training, which must have an end: give the Trainer max_epochs"
                " or max_steps"
            )
        steps_of_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        # Shares are rounded: 0.28 * 25 is more than 7.
        return 2 if epoch * steps_of_epoch / steps > self.two_views_from - 1e-9 else 1

    def _loader(
        self, split: str, shuffle_seeds: list[int] | None = None, augmentation: Augmentation | None = None
    ) -> PairLoader:
        if not hasattr(self, "train_set"):
            raise ValueError("there are no pairs yet: call setup() first, which a Trainer does by itself")
        digits = self.test_digits if split == "test" else self.train_digits
        pairs: PairSet = getattr(self, f"{split}_set")
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(pairs) < world_size:
            raise ValueError(
                f"{split}_pairs must be at least {world_size}, one for each process, got {len(pairs)}"
            )
        batch_size = self.batch_size if shuffle_seeds else max(self.batch_size, AT_ONCE)
        order = (shuffle_seeds, rank, world_size)
        return PairLoader(digits, pairs, batch_size, *order, augmentation, self._views)


def _warps(augment: str, elastic: float, two_views_from: float) -> Augmentation | None:
    """The warps that are asked for; what has no effect without them is refused."""
    if not isinstance(augment, str) or augment not in ("none", "bilinear", "bicubic"):
        raise ValueError(f"augment must be none, bilinear or bicubic, got {augment}")
    if augment != "none":
        return Augmentation(cast("Interpolation", str(augment)), elastic)
    if two_views_from < 1:
        raise ValueError("two_views_from below 1 needs warps, but augment is none")
    if elastic != ELASTIC:
        raise ValueError("elastic has no effect where augment is none; leave it out, or give augment")
    return None
