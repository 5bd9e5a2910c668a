"""Both chapters of the paper, learned by the framework: points in a disc, and pairs of digits.

Command lines:
    python -m scratch_framework                              the paper's recipe, its gradient corrected
    python -m scratch_framework --mistake bias_per_row       as the authors' code has it: the paper's figures
    python -m scratch_framework --recipe modern              the best that we found
    python -m scratch_framework --backend torch              the same by torch.nn, from the same weights
    python -m tune --model disc                              the paper's grid search: 480 trainings
    python -m scratch_framework --net weight_sharing         chapter 1's networks; also cnn, auxiliary
    python -m scratch_framework --net cnn --help             their flags
    tensorboard --logdir runs
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lightning_modules.command import cli
from scratch_framework.experiments.digits import command as digits
from scratch_framework.experiments.disc import command as disc

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line, by default with the flags of the process."""
    args = sys.argv[1:] if args is None else args
    if chosen_net(args) == "mlp":
        cli.run(disc.disc, "python -m scratch_framework", args, flags=disc.FLAGS)
    else:
        cli.run(digits.digits, "python -m scratch_framework", args, flags=digits.FLAGS)


def chosen_net(args: Sequence[str]) -> str:
    """The net that the flags or their settings file ask for; each chapter's nets have flags of their own."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--net", nargs="?")
    parser.add_argument("--config", nargs="?", type=Path)
    given, _ = parser.parse_known_args(args)
    net = given.net
    if net is None and given.config is not None:
        # The command itself says what is wrong with a file.
        with suppress(OSError, ValueError, RecursionError, yaml.YAMLError, LookupError, TypeError):
            net = yaml.safe_load(given.config.read_bytes())["net"]
    return net or "mlp"


if __name__ == "__main__":
    main()
