"""Digits, pairs of them, and the LightningDataModule that serves the pairs."""

from datamodules.digit_pairs import DigitPairs
from datamodules.loader import PairLoader
from datamodules.mnist import Digits, load_digits
from datamodules.pairs import PairSet, generate_pair_sets

__all__ = ["DigitPairs", "Digits", "PairLoader", "PairSet", "generate_pair_sets", "load_digits"]
