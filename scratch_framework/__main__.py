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
from typing import TYPE_CHECKING

from lightning_modules.command import cli
from lightning_modules.command.parsing import read_files
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
    """The net that the flags or their settings files ask for; each chapter's nets have flags of their own."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    for flag, read in (("--net", str), ("--config", _net_of)):  # into one list: later ones win
        parser.add_argument(flag, dest="nets", action="append", nargs="?", type=read, default=[])
    nets = [net for net in parser.parse_known_args(args)[0].nets if net is not None]
    return nets[-1] if nets else "mlp"


def _net_of(file: str) -> str | None:
    """The net that a settings file asks for; the command itself says what is wrong with a file."""
    with suppress(OSError, cli.CommandError):
        return read_files([f"--config={file}"]).get("net")
    return None


if __name__ == "__main__":
    main()
