"""Report of a study: a table of its best trials, and its files, written anew at every call.

<log_dir>/<study_name>/trials.csv       number, state, value, std, parameters, seconds of every trial
<log_dir>/<study_name>/best.yaml        the best trial's settings, for the command that trains its model
<log_dir>/<study_name>/*.png            plots, also in TensorBoard's run `plots`
<log_dir>/<study_name>/trials/<number>/ a TensorBoard run a trial
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, cast

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lightning_modules.command.atomic_io import atomic_write
from lightning_modules.command.settings_file import to_yaml
from lightning_modules.results.figures import write_figure
from lightning_modules.results.table import percent
from tune.fit.trial_batch import SECONDS, STD, error_of
from tune.report.plots import draw
from tune.report.tensorboard import log_plots, log_trials
from tune.study.definition import Definition
from tune.study.settings import PAIRS, SIZES
from tune.study.spaces import PAPER_CHOICE
from tune.study.trials import DIVERGED, is_finished, reason, trials_by_point

COMMAND = {"disc": "python -m scratch_framework"}  # takes best.yaml; of the other models train.py


def conclude(study: optuna.Study, folder: Path, console: Console, top: int) -> None:
    """Print the best trials and write all files."""
    definition = Definition.of(study)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "report.lock"):  # two commands of one study end at the same time
        trials = sorted(
            trials_by_point(study.get_trials(deepcopy=False)).values(), key=lambda trial: trial.number
        )
        files = _write(folder, study.study_name, trials, definition)
    _say(console, trials, definition, top)
    if not ranked(trials):
        console.print(f"{study.study_name}: no trial has a score yet")
        return
    console.print(f"{folder}: {', '.join(files)}")
    command = COMMAND.get(definition.model, "python train.py")
    console.print(f"{command} --config {quote(str(folder / 'best.yaml'))}")
    console.print(f"tensorboard --logdir {quote(str(folder.parent))}")


def _write(folder: Path, name: str, trials: Sequence[FrozenTrial], definition: Definition) -> list[str]:
    """Write what there is to write; the files' names."""
    atomic_write(folder / "trials.csv", _csv(trials, definition))
    if not (best := ranked(trials)):
        return ["trials.csv"]
    atomic_write(folder / "best.yaml", _best(best[0], definition, name))
    figures = {f"{plot}.png": figure for plot, figure in draw(trials, definition).items()}
    for file, figure in figures.items():
        write_figure(folder / file, figure, bbox_inches="tight")  # else long labels are cut off
    log_plots(folder / "plots", [folder / file for file in figures])
    log_trials(folder / "trials", trials, definition)
    return ["trials.csv", "best.yaml", *figures]


def _say(console: Console, trials: Sequence[FrozenTrial], definition: Definition, top: int) -> None:
    finished = [trial for trial in trials if is_finished(trial)]
    unscored = [trial for trial in finished if trial.state == TrialState.FAIL]
    done = Counter(trial.state.name for trial in finished)
    diverged = sum(reason(trial).startswith(DIVERGED) for trial in unscored)
    text = f"{done['COMPLETE']} trials complete, {done['PRUNED']} pruned, {diverged} diverged"
    console.print(f"{text}, {len(unscored) - diverged} failed")
    if ranked(trials):
        console.print(f"validation error in %, mean ± std over {definition.repeats} runs of each trial;")
        console.print("diverged and failed trials are not counted")
        console.print(_table(trials, definition, top))
    for trial in unscored:
        console.print(f"trial {trial.number} {reason(trial)}")


def ranked(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials with a score, the best first; equal shares tie, and the earlier one leads."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (round(cast("float", trial.value), 9), trial.number))


def _csv(trials: Sequence[FrozenTrial], definition: Definition) -> str:
    names = list(definition.searched().distributions)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "state", "value", "std", *names, "seconds"])
    for trial in trials:
        row: list[Any] = [trial.number, trial.state.name, error_of(trial), trial.user_attrs.get(STD)]
        writer.writerow([*row, *(trial.params.get(name) for name in names), trial.user_attrs.get(SECONDS)])
    return text.getvalue()


def _best(trial: FrozenTrial, definition: Definition, name: str) -> str:
    settings: dict[str, Any] = {} if definition.model == "disc" else {"model": definition.model}
    settings |= {"recipe": definition.space, **trial.params}
    if definition.max_epochs != SIZES.get(definition.model, PAIRS)[0]:
        settings["max_epochs"] = definition.max_epochs
    if definition.data_dir is not None:
        settings["data_dir"] = definition.data_dir
    if definition.mistake != "none":
        settings["mistake"] = definition.mistake
    score = percent(error_of(trial), trial.user_attrs[STD])
    about = f"# trial {trial.number} of study {name}: validation error {score} %\n"
    return about + to_yaml(settings)


def _table(trials: Sequence[FrozenTrial], definition: Definition, top: int) -> Table:
    best, names = ranked(trials), list(definition.searched().distributions)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("rank", "trial", "error"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("settings")
    papers = PAPER_CHOICE.get(definition.model) if definition.space == "paper" else None
    for rank, trial in enumerate(best, 1):
        if rank > top and trial.params != papers:
            continue
        table.add_row(
            f"paper's: {rank}" if trial.params == papers else str(rank),
            str(trial.number),
            percent(error_of(trial), trial.user_attrs[STD]),
            ", ".join(f"{name} {_short(trial.params[name])}" for name in names),
            end_section=rank == top,
        )
    return table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
