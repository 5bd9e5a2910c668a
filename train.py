"""Which of two digits is larger? The paper's three networks, many seeds each, from one command.

Command lines:
    python train.py                                      figure 1.5 of the paper: three nets, 15 runs each
    python train.py --model auxiliary --runs 50          one net, 50 runs
    python train.py --accelerator gpu --runs 100         all runs of a net in one program on a GPU
    python train.py --name NAME --resume                 goes on with a study that was interrupted, however
    python train.py --runs 1000 --devices 4              four GPUs, or processes, share the runs
    torchrun --nnodes 2 --nproc_per_node 4 train.py ...  so do two machines: docs/distributed.md
    tensorboard --logdir runs
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.plain import refuse_unknown
from lightning_modules.command.run_flags import PairFlags
from lightning_modules.command.settings import changes_of, flags_of, setting, split_flags
from lightning_modules.models.recipes import PAPER, RECIPES, resolve
from lightning_modules.models.settings import SETTING_NAMES, SETTINGS, ModelOrAll, PairSettings
from lightning_modules.training.execution import ExecutionConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The paper took them from a grid search and does not print its choice, so every choice is compared with the
# same figures.
SEARCHED_IN_PAPER = ("lr", "alpha", "gamma")
CALL = ("name", "resume", "verbose")  # flags of one call; all others are the study's
TRAINER = ("accelerator", "devices", "strategy", "num_nodes")


@dataclass(frozen=True)
class Flags(PairFlags, ExecutionConfig):
    """Flags beside the settings of the models."""

    model: ModelOrAll = setting("all", "Which network, or all three.")
    recipe: Literal["paper", "modern"] = setting(
        "paper", "Named settings; `paper` is the paper's, `modern` goes as low as we know how."
    )
    all_pairs: bool = setting(
        False,
        "Whether to test each run on all pairs of test digits too, without their sampling noise; a net that"
        " must see both digits at once, on a fixed pairing of all test digits.",
    )
    accelerator: str = setting("auto", "Lightning's: auto, cpu, gpu, ...")
    devices: int | str = setting(
        1, "Lightning's: a number, a list such as 0,1, or auto. Several share the runs, each has a process."
    )
    strategy: str = setting(
        "auto", "Lightning's: auto shares the runs among devices and machines, ddp each batch."
    )
    num_nodes: int = setting(1, "Lightning's; machines on which torchrun or SLURM started this command.")
    precision: str | None = setting(
        None,
        "Lightning's: 32-true, bf16-mixed, 64-true, ...; by default the recipe's, which for `modern` is"
        " bf16-mixed on a CPU with instructions for it, and 32-true otherwise.",
    )
    checkpoint_every: float = setting(
        10.0,
        "Seconds from one checkpoint of unfinished runs to the next, for `resume`.",
        within=(0, math.inf),
    )
    name: str | None = setting(
        None,
        "Folder of this study in log_dir, which must not exist yet, or be resumed; a unique one by default.",
    )
    resume: bool = setting(
        False,
        "Whether to go on with the study of this name, however it ended; all other flags as it was begun"
        " with.",
    )
    verbose: bool = setting(False, "Whether to show how it computes, what libraries say, and tracebacks.")


def train(**flags: Any) -> None:
    """Train networks that tell which of two digits is larger, and test each run once.

    Args:
        **flags: Fields of `Flags`, and settings of the models that are to be other than the recipe's; None
            keeps the recipe's.

    Raises:
        ValueError: One does not exist, is out of range or of another type, or has no effect.
    """
    for name in flags:
        refuse_unknown("train", name, {*(entry.name for entry in fields(Flags)), *SETTING_NAMES})
    own, changes = split_flags(Flags, flags)
    models = list(SETTINGS) if own.model == "all" else [own.model]
    settings = resolve(RECIPES[own.recipe], models, changes)
    # Heavy imports wait until the flags are known to be right: --help answers at once.
    launched = "TORCHELASTIC_RUN_ID" in os.environ  # by torchrun, as one of many processes
    if own.accelerator in ("auto", "cpu") and own.strategy == "auto" and own.workers != 1 and not launched:
        worker_context()  # the workers' server imports while we do
    with cli.imports(first_sign=True):
        from datamodules import DigitPairs
        from lightning_modules.results.table import PAPER_FIGURES
        from lightning_modules.training.experiment import Experiment
        from lightning_modules.training.precision import recipe_precision

    precision, remark = own.precision, ""
    if precision is None:
        precision, remark = recipe_precision(RECIPES[own.recipe].precision, own.accelerator)
    config = {name: value for name, value in vars(own).items() if name not in CALL}
    config |= dict.fromkeys(SETTING_NAMES) | changes | {"precision": precision}
    for name in ("max_epochs", "batch_size"):  # which all models of a recipe have in common
        config[name] = getattr(settings[models[0]], name)
    pairs = {name: getattr(own, name) for name in ("train_pairs", "val_pairs", "test_pairs", "data_dir")}
    Experiment(
        models=settings,
        recipe=own.recipe,
        seeds=own.seeds,
        data=partial(DigitPairs, **pairs),
        trainer={name: getattr(own, name) for name in TRAINER} | {"precision": precision},
        execution=ExecutionConfig(own.workers, own.threads, own.replicas, own.engine, own.layout),
        log_dir=Path(own.log_dir),
        name=own.name,
        config=config,
        paper=PAPER_FIGURES if as_in_paper(own, settings) else {},
        all_pairs=own.all_pairs,
        verbose=own.verbose,
        resume=own.resume,
        checkpoint_every=own.checkpoint_every,
        remark=remark,
    ).run()


def as_in_paper(flags: Flags, settings: Mapping[str, PairSettings]) -> bool:
    """Whether the paper's figures are of the same nets, trained in the same way on the same task.

    Of another recipe, network, optimiser, number of epochs or ensemble the paper has no figures; its column
    would mislead.
    """
    task = [(of.recipe, of.train_pairs, of.test_pairs, of.data_dir) for of in (flags, Flags())]
    changed = {
        name
        for model, own in settings.items()
        for name, value in asdict(own).items()
        if value != getattr(PAPER.settings[model], name)
    }
    return task[0] == task[1] and changed <= set(SEARCHED_IN_PAPER)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line, by default with the flags of the process."""
    cli.run(train, "train.py", args, flags=[*flags_of(Flags), *changes_of(SETTINGS.values())])


if __name__ == "__main__":
    main()
