"""Test digits that come with the page, and pairs of them that some net gets wrong."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import torch
from torch import Tensor

from datamodules import Digits
from lightning_modules.demo.nets import Net
from lightning_modules.predict.inference import answer

OF_CLASS = 4  # digits of each class
ASKED = 2000  # pairs among which hard ones are looked for
HARD = 6  # pairs for each net, at most


@dataclass(frozen=True)
class Examples:
    """Digits of the test split."""

    digits: Digits
    hard: list[tuple[int, int]]  # places in `digits` of pairs that some net gets wrong

    def packed(self) -> str:
        """The pixels in quarters, which makes them whole numbers (2 bytes, the low one first), in base64."""
        quarters = (4 * self.digits.images).round().numpy().astype("<u2")
        return b64encode(quarters.tobytes()).decode()


def choose_examples(nets: Sequence[Net], test: Digits) -> Examples:
    """Take the first digits of each class, and pairs that are hard for the nets in turn.

    Args:
        nets: The best first.
        test: The test split.
    """
    first = [
        place for digit in range(10) for place in (test.labels == digit).nonzero()[:OF_CLASS, 0].tolist()
    ]
    drawn = torch.randint(len(test), (ASKED, 2), generator=torch.Generator().manual_seed(0))
    wrong = [mistakes(net, test, drawn)[:HARD].tolist() for net in nets]
    turns = [pair for pair in chain.from_iterable(zip_longest(*wrong)) if pair is not None]
    hard = list(dict.fromkeys(map(tuple, turns)))
    kept = list(dict.fromkeys([*first, *chain.from_iterable(hard)]))
    return Examples(
        Digits(test.images[kept], test.labels[kept]),
        [(kept.index(left), kept.index(right)) for left, right in hard],
    )


def mistakes(net: Net, test: Digits, pairs: Tensor) -> Tensor:
    """The pairs that a net gets wrong.

    Args:
        net: The net.
        test: The test split.
        pairs: (N, 2), places in it.

    Returns:
        (n, 2), n of them.
    """
    says_left = torch.tensor([said.greater > 0.5 for said in answer(net.model, test.images[pairs])])
    is_left = test.labels[pairs[:, 0]] > test.labels[pairs[:, 1]]
    return pairs[says_left != is_left]
