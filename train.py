"""Which of two digits is larger? The paper's three networks, many seeds each, from one command.

Command lines:
    python train.py                                      figure 1.5 of the paper: three nets, 15 runs each
    python train.py --model auxiliary --runs 50          one net, 50 runs
    python train.py --accelerator gpu --runs 100         all runs of a net in one program on a GPU
    python train.py --name NAME --resume                 goes on with a study that was interrupted, however
    python train.py --strategy ddp --accelerator cpu --devices 2
    tensorboard --logdir runs
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.limits import MOST_RUNS
from lightning_modules.command.plain import refuse_unknown
from lightning_modules.command.settings import Settings, changes_of, flags_of, setting
from lightning_modules.models.recipes import PAPER, RECIPES, resolve
from lightning_modules.models.settings import SETTING_NAMES, SETTINGS, ModelOrAll, PairSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The paper took them from a grid search and does not print its choice, so that every choice has the same
# figures to be held against.
SEARCHED_IN_PAPER = ("lr", "alpha", "gamma")


@dataclass(frozen=True)
class StudyFlags(Settings):
    """Flags of a study beside the settings of its models."""

    model: ModelOrAll = setting("all", "Which network, or all three.")
    recipe: Literal["paper", "modern"] = setting(
        "paper", "Named settings; `paper` is the paper's, `modern` goes as low as we know how."
    )
    runs: int = setting(
        15,
        "Runs of each network, each with pairs, initialisation, order and dropout of its own.",
        within=(1, MOST_RUNS),
    )
    seed: int = setting(0, "Seed of the first run; the next ones count up.")
    train_pairs: int = setting(1000, "Training pairs of a run.")
    val_pairs: int = setting(
        500, "Validation pairs of a run, of train digits that its training pairs do not use; may be 0."
    )
    test_pairs: int = setting(1000, "Test pairs of a run.")
    data_dir: str | None = setting(
        None, "Folder of IDX files of MNIST or a relative; the embedded MNIST by default."
    )
    all_pairs: bool = setting(
        False,
        "Whether to test each run on all pairs of test digits too, without their sampling noise; a net that"
        " must see both digits at once, on a fixed pairing of all test digits.",
    )
    accelerator: str = setting("auto", "Lightning's: auto, cpu, gpu, ...")
    devices: int | str = setting(1, "Lightning's: a number, a list such as 0,1, or auto.")
    strategy: str = setting("auto", "Lightning's: auto, ddp, ...")
    num_nodes: int = setting(1, "Lightning's.")
    precision: str | None = setting(
        None,
        "Lightning's: 32-true, bf16-mixed, 64-true, ...; by default the recipe's, which for `modern` is"
        " bf16-mixed on a CPU with instructions for it, and 32-true otherwise.",
    )
    workers: int | None = setting(
        None, "Processes on CPU; one a core by default. Where Lightning distributes, and on GPU, it is 1."
    )
    threads: int | None = setting(None, "Threads of each process; 1 by default.")
    replicas: int | None = setting(
        None,
        "Trainings that one program does together, at most; by default 16 on CPU, elsewhere all. Those of one"
        " run (`ensemble`, `restarts`) stay together: it may not be less than these.",
    )
    engine: Literal["auto", "fused", "torch"] = setting(
        "auto", "How networks compute; `fused` does several layers in one pass over memory, on CPU only."
    )
    layout: Literal["auto", "channels_last", "contiguous"] = setting(
        "auto", "How images lie in memory; `fused` needs channels_last."
    )
    log_dir: str = setting("runs", "Folder of all studies, for TensorBoard.")
    checkpoint_every: float = setting(
        10.0,
        "Seconds from one checkpoint of unfinished runs to the next, for `resume`.",
        within=(0, math.inf),
    )


@dataclass(frozen=True)
class Flags(StudyFlags):
    """And those of this one call."""

    name: str | None = setting(
        None, "Folder of this study in it, which must not exist yet, or be resumed; a unique one by default."
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
    own = {field.name for field in fields(Flags)}
    for name in flags:
        refuse_unknown("train", name, {*own, *SETTING_NAMES})
    changes = {name: flags.get(name) for name in SETTING_NAMES}
    run(Flags(**{name: value for name, value in flags.items() if name in own}), changes)


def run(flags: Flags, changes: Mapping[str, Any]) -> None:
    """Make flags an experiment, and run it.

    Args:
        flags: Of the study, and of this call.
        changes: All settings of the models by name, None where the recipe's is to be kept.

    Raises:
        ValueError: A flag is out of range.
    """
    models = list(SETTINGS) if flags.model == "all" else [flags.model]
    settings = resolve(RECIPES[flags.recipe], models, changes)
    # Heavy imports wait until the flags are known to be right: --help answers at once.
    if flags.accelerator in ("auto", "cpu") and flags.strategy == "auto" and flags.workers != 1:
        worker_context()  # the workers' server imports while we do
    with cli.imports():
        from datamodules import DigitPairs
        from lightning_modules.results.runs import PAPER_FIGURES
        from lightning_modules.training.execution import Choice
        from lightning_modules.training.experiment import Experiment
        from lightning_modules.training.precision import recipe_precision

    precision, remark = flags.precision, ""
    if precision is None:
        precision, remark = recipe_precision(RECIPES[flags.recipe].precision, flags.accelerator)
    config = {field.name: getattr(flags, field.name) for field in fields(StudyFlags)} | {**changes}
    config["precision"] = precision
    for name in ("max_epochs", "batch_size"):  # which all models of a recipe have in common
        config[name] = getattr(settings[models[0]], name)
    Experiment(
        models=settings,
        recipe=flags.recipe,
        seeds=list(range(flags.seed, flags.seed + flags.runs)),
        data=partial(
            DigitPairs,
            train_pairs=flags.train_pairs,
            val_pairs=flags.val_pairs,
            test_pairs=flags.test_pairs,
            data_dir=flags.data_dir,
        ),
        trainer={
            "accelerator": flags.accelerator,
            "devices": flags.devices,
            "strategy": flags.strategy,
            "num_nodes": flags.num_nodes,
            "precision": precision,
        },
        choice=Choice(flags.workers, flags.threads, flags.replicas, flags.engine, flags.layout),
        log_dir=Path(flags.log_dir),
        name=flags.name,
        config=config,
        paper=PAPER_FIGURES if as_in_paper(flags, settings) else {},
        all_pairs=flags.all_pairs,
        verbose=flags.verbose,
        resume=flags.resume,
        checkpoint_every=flags.checkpoint_every,
        remark=remark,
    ).run()


def as_in_paper(flags: StudyFlags, settings: Mapping[str, PairSettings]) -> bool:
    """Whether the paper's figures are of the same nets, trained in the same way on the same task.

    Of another recipe, network, optimiser, number of epochs or team the paper has no figures; its column would
    mislead.

    Args:
        flags: Of the study.
        settings: Of its models.
    """
    bare = StudyFlags()
    task = [(of.recipe, of.train_pairs, of.test_pairs, of.data_dir) for of in (flags, bare)]
    changed = {
        name
        for model, own in settings.items()
        for name, value in asdict(own).items()
        if value != getattr(PAPER.settings[model], name)
    }
    return task[0] == task[1] and changed <= set(SEARCHED_IN_PAPER)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Flags; those of the process by default.
    """
    cli.run(train, "train.py", args, flags=[*flags_of(Flags), *changes_of(SETTINGS.values())])


if __name__ == "__main__":
    main()
